"""Finished runs made up for tests: records, test logits and histories as a real run leaves them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.runs.record import stage1_reference, write_record

if TYPE_CHECKING:
    from sar_cls.runs.features import Features

SHA_TRAIN, SHA_TEST = "a" * 64, "b" * 64


def make_record(suite: str, row: str, seed: Any, top1: Any, **changes: Any) -> dict[str, Any]:
    """A sound record without the fields that `write_record` fills in; ``changes`` replace or add fields."""
    metrics = changes.pop("metrics", {})
    record: dict[str, Any] = {
        "suite": suite,
        "row": row,
        "method": "SAR",
        "backbone": "ResNet-18",
        "dataset": "cifar100",
        "seed": seed,
        "epochs": 200,
        "epochs_recipe": 200,
        "metrics": {"last": {"top1": top1, **metrics}, "best": {"top1": top1 + 0.5, **metrics}},
        "best_epoch": 190,
        "train_counts": [500] * 10,
        "data_fingerprint": {"train": SHA_TRAIN, "test": SHA_TEST},
        "config_hash": f"hash-of-{row}",
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "versions": {"torch": "2.13.0"},
        "machine": {"cpu": "a CPU", "accelerator": None},
        "device": "cpu",
        "precision": "fp32",
        "wall_seconds": 100.0,
        "images_per_second": 500.0,
        "peak_memory_bytes": 1,
        "extra": {"data_order": "official archive"},
        "finished_at": "2024-01-01T00:00:00+00:00",
    }
    return record | changes


def write_run(work_dir: Path, record: dict[str, Any], run: str | None = None) -> dict[str, Any]:
    """Writes a record to its place under ``work_dir``; returns it as written."""
    import json

    run_dir = work_dir / record["suite"] / record["row"] / (run or f"seed{record['seed']}")
    run_dir.mkdir(parents=True, exist_ok=True)
    return json.loads(write_record(run_dir, record).read_text(encoding="utf-8"))


def second_stage(suite: str, row: str, top1: float, stage1: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The record of a second stage that started from the run ``stage1``."""
    defaults = {"epochs": 10, "epochs_recipe": 10, "best_epoch": 9, "stage1": stage1_reference(stage1)}
    return make_record(suite, row, stage1["seed"], top1, **{**defaults, **changes})


def write_outputs(
    run_dir: Path, seed: int, num_classes: int = 10, skill: float = 2.0, num_images: int = 2000, dtype: Any = np.float32
) -> None:
    """``test_outputs.npz`` of a classifier that gets better with ``skill``, worse towards the last class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_images)
    logits = rng.normal(size=(num_images, num_classes)) * 1.5
    logits[np.arange(num_images), labels] += skill * (1.5 - labels / num_classes)
    np.savez(run_dir / "test_outputs.npz", logits=logits.astype(dtype), labels=labels)


def make_features(
    seed: int = 0,
    counts: Sequence[int] = (150, 60, 25, 6),
    feat_dim: int = 8,
    per_class: int = 20,
    spread: float = 0.5,
    anchors: bool = True,
) -> Features:
    """Features of a made-up run: classes around random centres, which all seeds share up to a rotation and some noise."""
    from sar_cls.metrics.class_statistics import class_statistics
    from sar_cls.runs.features import Features

    classes, rng = len(counts), np.random.default_rng(seed)
    centres = np.random.default_rng(classes).normal(size=(classes, feat_dim)) + 1.0
    centres = centres + 0.1 * rng.normal(size=centres.shape)
    centres = centres @ np.linalg.qr(rng.normal(size=(feat_dim, feat_dim)))[0]
    labels, train_labels = np.repeat(np.arange(classes), per_class), np.repeat(np.arange(classes), counts)
    test = centres[labels] + spread * rng.normal(size=(len(labels), feat_dim))
    train = class_statistics(
        centres[train_labels] + 0.8 * spread * rng.normal(size=(len(train_labels), feat_dim)), train_labels, classes
    )
    distances = np.linalg.norm(test[:, None] - centres, axis=2)
    return Features(
        test_features=test.astype(np.float32),
        test_labels=labels,
        test_predictions=distances.argmin(axis=1),
        train_class_means=train.means.astype(np.float32),
        train_class_counts=train.counts,
        train_class_directions=train.directions.astype(np.float32),
        train_class_variances=train.variances.astype(np.float32),
        train_class_collapse=train.collapse.astype(np.float32),
        classifier_weight=(centres - centres.mean(axis=0)).astype(np.float32),
        classifier_bias=np.zeros(classes, dtype=np.float32),
        semantic_anchors=(centres + 0.05).astype(np.float32) if anchors else None,
        anchors_set=np.ones(classes, dtype=bool) if anchors else None,
        class_anchors=rng.normal(size=centres.shape).astype(np.float32) if anchors else None,
    )


def write_history(run_dir: Path, seed: int, epochs: int = 40, top: float = 75.0, sar: bool = False) -> None:
    """``history.csv`` of a run that learns; with ``sar`` it holds the gate's columns too."""
    rng = np.random.default_rng(seed)
    with (run_dir / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = None
        for epoch in range(1, epochs + 1):
            row: dict[str, float] = {"epoch": epoch, "lr": 0.1, "loss": 3 / epoch}
            row["test_top1"] = top * (1 - np.exp(-epoch / 8)) + rng.normal() * 0.8
            if sar:
                row["share_above_tau"] = min(1.0, epoch / 25)
                row["share_above_delta"] = min(1.0, epoch / 18)
                row["share_gate_open"] = max(0.0, min(1.0, (epoch - 10) / 20))
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
