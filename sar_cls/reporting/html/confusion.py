"""What a row's test outputs say beyond its record: confusion between classes, accuracy per class, reliability."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.html.numbers import all_short, short
from sar_cls.runs.outputs import read_outputs

NUM_BINS = 15


@dataclass
class Outcomes:
    """The pooled outcomes of some runs on their test images, at the last epoch.

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


def outcomes_of(run_dirs: Sequence[Path]) -> Outcomes:
    """Adds up the test outputs of the runs, one in memory at a time.

    Raises:
        InputError: a file is missing or damaged, or the runs have different numbers of classes.
    """
    found: Outcomes | None = None
    for run_dir in run_dirs:
        outputs = read_outputs(run_dir)
        logits, labels = outputs.logits.astype(np.float32, copy=False), outputs.labels.astype(np.int64)
        classes = logits.shape[1]
        if found is not None and classes != len(found.confusion):
            raise InputError(f"{run_dir} has {classes} classes, the other runs {len(found.confusion)}")
        predicted = logits.argmax(axis=1)
        confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
        bins = _bins(logits, predicted == labels)
        names = None if outputs.classes is None else [str(name) for name in outputs.classes]
        if found is None:
            found = Outcomes(confusion, bins, 1, names)
        else:
            found.confusion += confusion
            found.bins += bins
            found.runs += 1
    if found is None:
        raise InputError("there is no run")
    return found


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
    """
    flat = confusion.ravel()
    places = np.flatnonzero(flat)
    wide = bool(flat.max(initial=0) >= 2**16)
    if len(places) * 8 < flat.size * (4 if wide else 2):
        data, way = np.stack([places, flat[places]], axis=1).astype("<u4"), "sparse"
    else:
        data, way = flat.astype("<u4" if wide else "<u2"), "dense"
    return {"way": way, "wide": wide, "data": base64.b64encode(data.tobytes()).decode()}
