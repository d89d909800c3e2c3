"""Entries of figures, made from the runs of the fixture ``work_dir``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic_runs import make_features

from sar_cls.reporting.figures.series import Series
from sar_cls.reporting.figures.style import style
from sar_cls.runs.features import write_features
from sar_cls.runs.record import read_record

from .conftest import COUNTS


def entry(work_dir: Path, row: str, label: str | None = None, runs: int = 2, **fields: Any) -> Series:
    """The first runs of a row."""
    run_dirs = sorted((work_dir / "lt" / row).iterdir())[:runs]
    fields = {"row": row, "records": tuple(read_record(run_dir) for run_dir in run_dirs)} | fields
    return Series(label or row, tuple(run_dirs), tuple(COUNTS), style=style(row == "mixup_sar"), **fields)


def add_features(work_dir: Path, *rows: str, **changes: Any) -> None:
    """Features of all runs of some rows; those of SAR have semantic anchors."""
    for row in rows:
        for seed in (1, 2):
            features = make_features(seed, COUNTS, anchors=row == "mixup_sar", **changes)
            write_features(work_dir / "lt" / row / f"seed{seed}", features)
