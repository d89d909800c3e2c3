"""What a segmentation net said of the test set, ``segmentation.npz``: confusion matrices, predictions, and a few examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.runs.arrays import read_arrays
from sar_cls.runs.folder import SEGMENTATION_FILE

EXAMPLES = 6


@dataclass(frozen=True)
class Evaluated:
    """What was found at one epoch.

    Attributes:
        confusion: int64 [C, C], pixels of true class (row) by predicted class (column).
        predictions: uint8 [n, H, W]; None where they are not kept.
    """

    confusion: np.ndarray
    predictions: np.ndarray | None = None


@dataclass(frozen=True)
class DenseOutputs:
    """What a run keeps of its test set.

    Attributes:
        last: after the last iteration.
        best: at the best evaluation.
        classes: str [C], the names of the classes.
        labels: uint8 [n, H, W], 255 where a pixel has no class; None where predictions are not kept.
        images: uint8 [k, H, W, 3], the test images at the places ``examples``; None likewise.
        examples: int64 [k].
    """

    last: Evaluated
    best: Evaluated
    classes: np.ndarray
    labels: np.ndarray | None = None
    images: np.ndarray | None = None
    examples: np.ndarray | None = None


def write_dense_outputs(run_dir: Path, found: Mapping[str, Evaluated], test: Any) -> None:
    """Writes ``segmentation.npz``.

    Args:
        run_dir: of the run.
        found: at the "last" and the "best" epoch.
        test: the set, with ``classes``; and with ``images`` and ``labels`` where predictions are kept.
    """
    arrays: dict[str, Any] = {"classes": np.array(test.classes, dtype=np.str_)}
    for epoch, values in found.items():
        arrays[f"confusion_{epoch}"] = values.confusion
        if values.predictions is not None:
            arrays[f"predictions_{epoch}"] = values.predictions
    if "predictions_last" in arrays:
        labels = test.labels.cpu().numpy()
        examples = _examples(labels, len(test.classes))
        arrays |= {"labels": labels, "examples": examples, "images": test.images.cpu().numpy()[examples]}
    with replacing(run_dir / SEGMENTATION_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _examples(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Images to look at, the same for every run on a set: those with the most of the classes that are rare in it."""
    counts = np.stack([np.bincount(mask.ravel(), minlength=256)[:num_classes] for mask in labels])
    total = counts.sum(axis=0)
    rare = np.argsort(np.where(total > 0, total, total.max() + 1), kind="stable")[: max(1, num_classes // 3)]
    share = (counts[:, rare] / np.maximum(total[rare], 1)).sum(axis=1)
    return np.sort(np.argsort(-share, kind="stable")[:EXAMPLES])


def read_dense_outputs(run_dir: Path | str) -> DenseOutputs:
    """Reads ``segmentation.npz`` of a run; nothing in it is unpickled.

    Raises:
        InputError: the file is missing or damaged.
    """

    def build(arrays: Any) -> DenseOutputs:
        last, best = (
            Evaluated(arrays[f"confusion_{epoch}"], arrays.get(f"predictions_{epoch}")) for epoch in ("last", "best")
        )
        optional = {name: arrays.get(name) for name in ("labels", "images", "examples")}
        return DenseOutputs(last, best, arrays["classes"], **optional)

    return read_arrays(Path(run_dir) / SEGMENTATION_FILE, build, _problem, "predictions")


def _problem(outputs: DenseOutputs) -> str | None:
    """Why the arrays cannot be those of one run, in a few words; None where they can."""
    size = len(outputs.classes)
    for found in (outputs.last, outputs.best):
        if found.confusion.shape != (size, size) or found.confusion.dtype.kind != "i" or (found.confusion < 0).any():
            return "a confusion matrix does not fit the classes"
        if found.predictions is not None and (
            outputs.labels is None
            or found.predictions.shape != outputs.labels.shape
            or found.predictions.dtype != np.uint8
            or (found.predictions.size > 0 and found.predictions.max() >= size)
        ):
            return "predictions do not fit the masks"
    if outputs.examples is not None and (
        outputs.images is None
        or outputs.labels is None
        or len(outputs.images) != len(outputs.examples)
        or outputs.images.shape[1:3] != outputs.labels.shape[1:]
        or (
            len(outputs.examples) > 0
            and not 0 <= outputs.examples.min() <= outputs.examples.max() < len(outputs.labels)
        )
    ):
        return "the examples do not fit the masks"
    return None


def is_dense_run(record: Mapping[str, Any]) -> bool:
    """Whether a record is of a segmentation net: what that keeps of the test set are counts of pixels, and no logits."""
    return "miou" in record["metrics"]["last"]


def recompute_dense(record: Mapping[str, Any], outputs: DenseOutputs) -> dict[str, Any]:
    """The record with the metrics of its test set computed anew from its confusion matrices; all others stay as they are.

    Raises:
        InputError: the matrices do not fit the record.
    """
    from sar_cls.metrics.segmentation import evaluate_segmentation  # imports torch, so only once it is needed

    counts = record["train_counts"]
    if len(counts) != len(outputs.classes):
        raise InputError(
            f"{SEGMENTATION_FILE} of run {record['run_id']} has {len(outputs.classes)} classes and its record {len(counts)}; run "
            "this row again"
        )
    metrics = {name: dict(values) for name, values in record["metrics"].items()}
    for epoch, found in (("last", outputs.last), ("best", outputs.best)):
        metrics[epoch] |= evaluate_segmentation(found.confusion, counts, [str(name) for name in outputs.classes])
    return {**record, "metrics": metrics}
