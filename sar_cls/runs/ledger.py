"""The ledger: every finished run under a work directory, one row each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.runs.record import RECORD_FILE, read_record

Warn = Callable[[str], None]


def default_warn(message: str) -> None:
    """Turns a sentence into a Python warning."""
    warnings.warn(message, stacklevel=3)


def scan(work_dir: Path | str, warn: Warn = default_warn) -> list[tuple[Path, dict[str, Any]]]:
    """Run directory and record of each finished run in ``<work_dir>/<suite>/<row>/<run>/``, sorted by path.

    A damaged or foreign ``record.json`` is passed over with one warning sentence, as is a second copy of a run.

    Args:
        work_dir: the work directory; one that does not exist holds no runs.
        warn: called with each warning; by default ``warnings.warn``.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(Path(work_dir).glob(f"*/*/*/{RECORD_FILE}")):
        try:
            record = read_record(path.parent)
        except InputError as error:
            warn(f"a run is left out: {error}")
            continue
        if record["run_id"] in found:
            warn(f"a run is left out: {path} is a copy of {found[record['run_id']][0] / RECORD_FILE}.")
            continue
        found[record["run_id"]] = (path.parent, record)
    return list(found.values())
