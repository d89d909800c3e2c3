"""Runs made up for the HTML report: a suite with published figures in two stages, and one without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from synthetic_runs import make_record, second_stage, write_history, write_outputs, write_run

from sar_cls.reporting.html.views import Runs
from sar_cls.runs import ledger
from sar_cls.runs.features import Features, write_features
from sar_cls.suites.rows import Suite, load_suite

SEEDS = (1270964153, 1024, 5555)
COUNTS = [500, 299, 179, 107, 64, 38, 23, 14, 8, 5]
# The claim that SAR gains 1.1 points over MixUp has a clear answer here, the one about its second stage has none.
MIXUP = {1270964153: 39.0, 1024: 39.6, 5555: 39.3}
SAR = {1270964153: 40.2, 1024: 40.7, 5555: 40.3}
MIXUP_MISLAS = {1270964153: 47.0, 1024: 46.0, 5555: 48.0}
SAR_MISLAS = {1270964153: 47.5, 1024: 47.5, 5555: 46.9}
NO_SCRIPT = "</script><script>window.hacked = true</script>"

SUITE = """
title = "CIFAR-100-LT"
paper_table = "10"
paper_dataset = "CIFAR-100-LT IF={imbalance}"
imbalance = 100
metric = "top1"
extra_metrics = ["few_shot", "ece"]

[[rows]]
name = "mixup"
label = "MixUp"
paper = "MixUp"

[[rows]]
name = "mixup_car"
label = "MixUp+CAR"
config = "mixup.py"
baseline = "mixup"
paper = "MixUp+CAR"

[[rows]]
name = "mixup_sar"
label = "MixUp+SAR"
config = "mixup.py"
baseline = "mixup"
paper = "MixUp+SAR"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
method = "mislas"
paper = "MixUp"

[[rows]]
name = "mixup_sar_mislas"
label = "MiSLAS"
config = "mixup_mislas.py"
after = "mixup_sar"
method = "mislas"
baseline = "mixup_mislas"
paper = "MixUp+SAR"

[[rows]]
name = "own"
label = "<b>Own & row</b>"
config = "mixup.py"
baseline = "mixup"
"""


def write_run_features(run_dir: Path, seed: int, run_id: str, anchors: bool) -> None:
    """``features.npz`` of 10 classes that lie nearly the same way in every seed, in axes of its own."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    means = (np.random.default_rng(0).normal(size=(10, 16)) + 0.1 * rng.normal(size=(10, 16))) @ axes
    labels = np.repeat(np.arange(10), 6)
    tests = means[labels] + 0.2 * rng.normal(size=(60, 16))
    ones = np.ones(10, np.float32)
    more: dict[str, Any] = (
        {"semantic_anchors": means.astype(np.float32), "anchors_set": np.ones(10, bool)} if anchors else {}
    )
    write_features(
        run_dir,
        Features(
            test_features=tests.astype(np.float32),
            test_labels=labels,
            test_predictions=labels,
            train_class_means=means.astype(np.float32),
            train_class_counts=np.array(COUNTS),
            train_class_directions=means.astype(np.float32),
            train_class_variances=ones,
            train_class_collapse=ones,
            classifier_weight=means.astype(np.float32),
            run_id=run_id,
            **more,
        ),
    )


def make_suite(tmp_path: Path, text: str = SUITE, name: str = "cifar100_lt") -> Suite:
    """The suite of a ``suite.toml`` with configs beside it that nobody reads."""
    folder = tmp_path / "configs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    for config in ("mixup", "mixup_mislas"):
        (folder / f"{config}.py").write_text("")
    return load_suite(tmp_path / "configs", name)


def write_runs(work_dir: Path, seeds: tuple[int, ...] = SEEDS, features: bool = True, **changes: Any) -> Runs:
    """Three rows of the first stage and both second ones, a run a seed, with histories and test outputs; one without features."""
    records: dict[tuple[str, int], Any] = {}
    metrics = {"few_shot": 10.0, "ece": 3.0}
    rows = {
        "mixup": MIXUP,
        "mixup_sar": SAR,
        "own": MIXUP,
        "mixup_mislas": MIXUP_MISLAS,
        "mixup_sar_mislas": SAR_MISLAS,
    }
    for row, values in rows.items():
        for number, seed in enumerate(seeds):
            more = {"train_counts": COUNTS, "metrics": metrics, "overrides": {}, **changes}
            if row.endswith("mislas"):
                record = second_stage(
                    "cifar100_lt", row, values[seed], records[row.removesuffix("_mislas"), seed], **more
                )
            else:
                record = make_record("cifar100_lt", row, seed, values[seed], **more)
            records[row, seed] = write_run(work_dir, record)
            run_dir = work_dir / "cifar100_lt" / row / f"seed{seed}"
            write_history(run_dir, number, epochs=record["epochs"], sar=row == "mixup_sar")
            if features and row != "own":
                write_run_features(run_dir, number, records[row, seed]["run_id"], anchors="sar" in row)
            write_outputs(run_dir, number, skill=2.5 if "sar" in row else 2.0, num_images=500)
    return ledger.scan(work_dir)
