"""What is left of a run: test logits and per-class accuracies on disk, and the fields of its record."""

from __future__ import annotations

import resource
from typing import Any

import torch
from torch import Tensor

from sar_cls import metrics
from sar_cls.engine.planned import PlannedRun
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs import provenance
from sar_cls.runs.outputs import write_outputs
from sar_cls.runs.per_class import write_per_class
from sar_cls.runs.record import stage1_reference
from sar_cls.superclasses import superclasses_of


def outcome(
    planned: PlannedRun,
    splits: DataSplits,
    logits: dict[str, dict[str, Tensor]],
    device: torch.device,
    precision: str,
    history: list[dict[str, Any]],
    best_epoch: int,
) -> dict[str, Any]:
    """Saves the test logits and the accuracy of each class, and returns the fields of the record.

    Args:
        planned: the run.
        splits: its images.
        logits: of the "test" set and, where there is one, of the "val" split: [n, C] of the "last" and of the "best" epoch.
        device: where it ran.
        precision: how.
        history: a row an epoch; empty where nothing was trained.
        best_epoch: from 1; 0 where nothing was trained.

    Raises:
        RuntimeError: the logits are not finite, the run has diverged.
    """
    if not all(bool(values.isfinite().all()) for part in logits.values() for values in part.values()):
        raise RuntimeError(
            "the network has diverged, its test logits are not finite: lower the learning rate and move the folder "
            f"{planned.run_dir} away to start this run over"
        )
    # float32, in the figures as in the file: half precision makes ties, and a tie goes to the lower class number, which on
    # a long tail is the larger class (up to 0.02 points of CIFAR's top-1).
    stored = {split: {epoch: values.cpu().float() for epoch, values in part.items()} for split, part in logits.items()}
    labels, counts = splits.test.labels.cpu(), [int(count) for count in splits.train.counts]
    homes = superclasses_of(splits.test.name, splits.test.classes)
    figures = {
        name: metrics.evaluate(values, labels, train_counts=counts, superclasses=homes)
        for name, values in stored["test"].items()
    }
    val_labels = None if splits.val is None else splits.val.labels.cpu()
    if val_labels is not None:
        for epoch, values in stored["val"].items():
            figures[epoch] |= metrics.evaluate_calibrated(stored["test"][epoch], labels, values, val_labels)
    write_outputs(planned.run_dir, stored, labels, val_labels, splits.test.classes)
    write_per_class(planned.run_dir, {"train_counts": counts})
    model = planned.config.model
    return {
        **record_fields(planned, splits, device, precision, history),
        "method": (model.head.get("regularizer") or {}).get("type", "none"),
        "backbone": backbone_name(model),
        "metrics": figures,
        "best_epoch": best_epoch,
    }


def record_fields(
    planned: PlannedRun,
    splits: DataSplits,
    device: torch.device,
    precision: str,
    history: list[dict[str, Any]],
) -> dict[str, Any]:
    """The fields of a record that do not depend on what the net is for; arguments as for :func:`outcome`."""
    seconds = sum(row["seconds_train"] for row in history)
    origin = provenance.collect(torch.cuda.get_device_name(device) if device.type == "cuda" else None)
    # Sums are split between threads, so their number moves the last digits of a step, and in the end a result.
    origin["machine"]["threads"] = torch.get_num_threads()
    return {
        **origin,
        "suite": planned.suite,
        "row": planned.row,
        "dataset": splits.train.name,
        "seed": planned.seed,
        "epochs": planned.epochs,
        "epochs_recipe": planned.full_epochs,
        "overrides": planned.overrides,
        "stage1": None if planned.first is None else stage1_reference(planned.first.record),
        "best_on": "test" if splits.val is None else "val",
        "train_counts": [int(count) for count in splits.train.counts],
        "data_fingerprint": splits.fingerprints,
        "config_hash": planned.recipe,
        "device": device.type,
        "precision": precision,
        "wall_seconds": seconds + sum(row["seconds_eval"] for row in history),
        "images_per_second": sum(row["images"] for row in history) / seconds if seconds else None,
        "peak_memory_bytes": _peak_memory(device),
    }


def backbone_name(model: Any) -> str:
    """How a record names the backbone of a config's ``model``."""
    return model.backbone.get("name") or f"{model.backbone.type}-{model.backbone.get('depth', '')}".rstrip("-")


def _peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that this run's tensors took on the device, else the most that the process had resident
    since it started, earlier runs of it included."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
