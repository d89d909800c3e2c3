"""What a row's test outputs say beyond its record: confusion between classes, accuracy per class, reliability."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.reporting.html.numbers import all_short, short
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.outputs import read_outputs

NUM_BINS = 15


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of some runs on their test images (or pixels), at the last epoch.

    Attributes:
        confusion: int64 [C, C]; of how many images of the class of the row it was said that they are of the column's.
        bins: float [15, 3]; summed confidence, number of right answers and of images by confidence, bins as for the ECE.
        runs: how many runs.
        names: of the classes, where they were kept.
    """

    confusion: np.ndarray
    bins: np.ndarray
    runs: int
    names: list[str] | None

    @property
    def accuracies(self) -> np.ndarray:
        """Accuracy of each class in percent, float [C]; NaN for a class without a test image."""
        with np.errstate(invalid="ignore"):
            return 100 * np.diag(self.confusion) / self.confusion.sum(axis=1)


def outcomes_of(run_dir: Path) -> Outcomes:
    """The outcomes of one run.

    Raises:
        InputError: its test outputs are missing or damaged.
    """
    outputs = read_outputs(run_dir)
    logits, labels = outputs.logits.astype(np.float32, copy=False), outputs.labels.astype(np.int64)
    classes, predicted = logits.shape[1], logits.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    names = None if outputs.classes is None else [str(name) for name in outputs.classes]
    return Outcomes(confusion, _bins(logits, predicted == labels), 1, names)


def dense_outcomes_of(run_dir: Path) -> Outcomes:
    """The outcomes of a segmentation net on its test pixels; it has kept no confidence, so no bin holds any.

    Raises:
        InputError: its outputs are missing or damaged.
    """
    outputs = read_dense_outputs(run_dir)
    return Outcomes(outputs.last.confusion, np.zeros((NUM_BINS, 3)), 1, [str(name) for name in outputs.classes])


def pooled(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of several runs with one number of classes, added up."""
    return Outcomes(
        sum(part.confusion for part in parts[1:]) + parts[0].confusion,
        sum(part.bins for part in parts[1:]) + parts[0].bins,
        sum(part.runs for part in parts),
        next((part.names for part in parts if part.names is not None), None),
    )


def _bins(logits: np.ndarray, correct: np.ndarray) -> np.ndarray:
    highest = logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(logits - highest).sum(axis=1, dtype=np.float64)  # the softmax of the highest logit
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, NUM_BINS - 1)
    columns = (confidence, correct.astype(float), np.ones(len(confidence)))
    return np.stack([np.bincount(index, column, NUM_BINS) for column in columns], axis=1)


def reliability(outcomes: Outcomes) -> dict[str, Any]:
    """``confidence``, ``accuracy`` in percent and ``count`` of each bin that holds images, and the ``ece`` in percent."""
    confidence, correct, count = outcomes.bins[outcomes.bins[:, 2] > 0].T
    gap = np.abs(confidence - correct)
    return {
        "confidence": all_short(100 * confidence / count),
        "accuracy": all_short(100 * correct / count),
        "count": [int(value) for value in count],
        "ece": short(100 * gap.sum() / count.sum()),
    }


def encoded(confusion: np.ndarray) -> dict[str, Any]:
    """The matrix for the page, in the shorter of two ways, base64 of little-endian whole numbers.

    ``dense``: uint16, or uint32 (``wide``) where counts need it, row by row. ``sparse``: uint32 pairs of place and count.
    ``large``: float64, row by row, for pixels that are too many for either.
    """
    flat = confusion.ravel()
    if flat.max(initial=0) >= 2**32:
        return {"way": "large", "wide": True, "data": base64.b64encode(flat.astype("<f8").tobytes()).decode()}
    places = np.flatnonzero(flat)
    wide = bool(flat.max(initial=0) >= 2**16)
    if len(places) * 8 < flat.size * (4 if wide else 2):
        data, way = np.stack([places, flat[places]], axis=1).astype("<u4"), "sparse"
    else:
        data, way = flat.astype("<u4" if wide else "<u2"), "dense"
    return {"way": way, "wide": wide, "data": base64.b64encode(data.tobytes()).decode()}
