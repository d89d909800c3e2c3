"""The runs kept in results/, read as JSON, and what its documents say of them.

Not by :mod:`sar_cls.reporting`, which prints the tables: what follows from the records is computed anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parents[1] / "results"
ANSWERS = " ".join((RESULTS / "README.md").read_text(encoding="utf-8").split())  # on one line
PARTS, RIVALS, SUPCON, LT16, CAMVID = "digits-parts", "digits-rivals", "digits-supcon", "cifar100_lt_16", "camvid"
EPOCHS, DIMENSIONS, LT16_H200 = "digits-epochs", "digits-dimensions", "cifar100_lt_16-h200"
# Rows at 16x16 that share a baseline, in each stage; CAR has no logit adjustment.
FAMILY = ["mixup_sar", "mixup_aux_alone", "mixup_sar_shielded", "mixup_car"]


def last(folder: str, row: str, metric: str = "", epoch: str = "last") -> dict[int, float]:
    """Seed -> metric at the last epoch, or the best one, of the kept float32 runs of a row; by default top-1, of a segmentation
    net mIoU.

    Of a row that was run at several lengths the longest.
    """
    metric = metric or ("miou" if folder == CAMVID else "top1")
    records = [json.loads(path.read_bytes()) for path in (RESULTS / folder).glob(f"*/{row}/*/record.json")]
    longest = max((record["epochs"] for record in records), default=0)
    records = [record for record in records if record["epochs"] == longest and record["precision"] == "fp32"]
    found = {record["seed"]: record["metrics"][epoch][metric] for record in records}
    assert 0 < len(found) == len(records), f"{folder}: {len(records)} runs of {row}, {len(found)} seeds"
    return found


def differences(folder: str, row: str, baseline: str, metric: str = "", epoch: str = "last") -> np.ndarray:
    """Row minus baseline, seed by seed."""
    ours, theirs = last(folder, row, metric, epoch), last(folder, baseline, metric, epoch)
    return np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])


def interval(found: np.ndarray) -> tuple[float, float, float]:
    """Mean of paired differences and the bounds of its 95 % t-interval, from the formula."""
    half = stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
    return found.mean(), found.mean() - half, found.mean() + half


def said(found: np.ndarray) -> str:
    """The same as the texts have it."""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*interval(found))


def holm(values: list[float]) -> list[float]:
    """Holm's adjusted p-values, from the definition."""
    order, adjusted, worst = np.argsort(values), [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, (len(values) - rank) * values[index])
        adjusted[index] = min(1.0, worst)
    return adjusted


def cells(document: Path, heading: str, label: str) -> list[str]:
    """What stands behind a label in the table whose heading begins so."""
    text = document.read_text(encoding="utf-8")
    table = text[text.index(f"| {heading}") :].split("\n\n")[0]
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def extras(folder: str, row: str) -> dict[int, dict[str, Any]]:
    """Seed -> what the records of a row say beside their metrics, of gate and geometry among others."""
    records = [json.loads(path.read_bytes()) for path in (RESULTS / folder).glob(f"*/{row}/*/record.json")]
    return {record["seed"]: record["extra"] for record in records}
