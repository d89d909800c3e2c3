"""Which run is asked for, before anything of it has been read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sar_cls.suites.rows import Source


@dataclass(frozen=True)
class Job:
    """A row of a suite with one seed: everything that says which run it is. It goes to other processes as it is."""

    suite: str
    row: str
    source: Source
    seed: int
    run_dir: Path
    stage1_dir: Path | None = None
    title: str = ""
