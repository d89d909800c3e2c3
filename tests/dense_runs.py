"""Runs of segmentation nets made up for the reports: two rows, a run a seed, of five classes one of which the test set lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from synthetic_runs import make_record, write_history, write_run

from sar_cls.reporting.html.views import Runs
from sar_cls.runs import ledger
from sar_cls.runs.dense_outputs import Evaluated, write_dense_outputs
from sar_cls.runs.per_class import write_dense_per_class
from sar_cls.suites.rows import Suite, load_suite

CLASSES = ("Sky", "Road", "Car", "Pole", "Rider")
COUNTS = [9000, 5000, 2000, 60, 40]
ABSENT = "Pole"
SEEDS = (1, 2)
# Pixels of true class (row) by predicted class (column).
PLAIN = np.array([[90, 10, 0, 0, 0], [20, 60, 20, 0, 0], [0, 10, 30, 0, 0], [0, 0, 0, 0, 0], [0, 4, 6, 0, 10]])
SAR = np.array([[95, 5, 0, 0, 0], [10, 80, 10, 0, 0], [0, 10, 30, 0, 0], [0, 0, 0, 0, 0], [0, 2, 2, 0, 16]])

SUITE = """
title = "Scenes"
metric = "miou"

[[rows]]
name = "plain"
label = "Plain net"

[[rows]]
name = "sar"
label = "Net+SAR"
config = "plain.py"
baseline = "plain"
"""


def make_suite(tmp_path: Path, text: str = SUITE, name: str = "scenes") -> Suite:
    """The suite of a ``suite.toml`` with an empty config beside it."""
    folder = tmp_path / "configs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    (folder / "plain.py").write_text("")
    return load_suite(tmp_path / "configs", name)


def ious(matrix: np.ndarray) -> list[float]:
    """IoU of each class in percent, by its definition: both right over either; NaN for a class without a pixel."""
    found = []
    for label in range(len(matrix)):
        either = sum(matrix[label]) + sum(row[label] for row in matrix) - matrix[label, label]
        found.append(100 * matrix[label, label] / either if sum(matrix[label]) else float("nan"))
    return found


def write_runs(work_dir: Path, *, examples: bool = True, suite: str = "scenes", **changes: Any) -> Runs:
    """Two runs each of the rows "plain" and "sar", with all files that a segmentation net leaves."""
    for row, matrix in (("plain", PLAIN), ("sar", SAR)):
        for seed in SEEDS:
            miou = float(np.nanmean(ious(seed * matrix)))
            figures = {"miou": miou, "undefined_classes": [ABSENT]}
            record = make_record(
                suite, row, seed, 0.0, method="SAR" if row == "sar" else "plain", train_counts=COUNTS,
                metrics=figures, extra={"unit": "iterations"}, overrides={}, **changes,
            )  # fmt: skip
            write_run(work_dir, record)
            run_dir = work_dir / suite / row / f"seed{seed}"
            write_history(run_dir, seed, epochs=record["epochs"])
            predictions = np.full((2, 6, 8), 1 if row == "plain" else 2, np.uint8) if examples else None
            found = {epoch: Evaluated(seed * matrix, predictions) for epoch in ("last", "best")}
            test = SimpleNamespace(
                classes=CLASSES,
                labels=torch.zeros(2, 6, 8, dtype=torch.uint8),
                images=torch.full((2, 6, 8, 3), 7, dtype=torch.uint8),
            )
            write_dense_outputs(run_dir, found, test)
            write_dense_per_class(run_dir, COUNTS, CLASSES, found)
    return ledger.scan(work_dir)
