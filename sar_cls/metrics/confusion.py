"""Which classes are taken for which: the confusion matrix, the pairs most confused, and head against tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sar_cls.errors import InputError


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Images of class i (row) that are taken for class j (column), int64 [C, C].

    Args:
        predictions: int [n].
        labels: int [n].
        num_classes: C.

    Raises:
        InputError: predictions and labels of other lengths, or outside [0, C).
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise InputError(
            f"predictions {list(predictions.shape)} and labels {list(labels.shape)} must be two rows of one length"
        )
    both = np.concatenate([predictions, labels])
    if both.dtype.kind not in "iu" or (both.size and (both.min() < 0 or both.max() >= num_classes)):
        raise InputError(f"predictions and labels must be whole numbers from 0 to {num_classes - 1}")
    cells = np.bincount(labels.astype(np.int64) * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def confusion_rates(matrix: np.ndarray) -> np.ndarray:
    """The matrix in percent of the images of each class (row), float [C, C]; NaN for a class without an image."""
    with np.errstate(invalid="ignore"):
        return 100 * matrix / matrix.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Attributes:
        first: the class whose images are lost to the other more often.
        second: the other class.
        lost: images of ``first`` taken for ``second``, in percent of those of ``first``.
        returned: images of ``second`` taken for ``first``, in percent of those of ``second``.
    """

    first: int
    second: int
    lost: float
    returned: float


def most_confused(rates: np.ndarray, most: int = 10) -> list[ConfusedPair]:
    """The pairs of classes with the largest sum of both rates, largest first; of equal ones the lower classes first.

    Args:
        rates: float [C, C] in percent of each row's images; may be the mean over runs. A class whose row is NaN is in no pair.
        most: pairs to give; pairs that are never confused are not given.
    """
    firsts, seconds = np.triu_indices(len(rates), 1)
    sums = np.nan_to_num(rates[firsts, seconds] + rates[seconds, firsts])
    found = []
    for index in np.argsort(-sums, kind="stable")[:most]:
        if sums[index] > 0:
            pair = int(firsts[index]), int(seconds[index])
            first, second = pair if rates[pair] >= rates[pair[::-1]] else pair[::-1]
            found.append(ConfusedPair(first, second, float(rates[first, second]), float(rates[second, first])))
    return found


def between_groups(matrix: np.ndarray, groups: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """Where the images of each group of classes go: head against tail.

    Args:
        matrix: int [C, C], images.
        groups: name -> classes, for instance shot groups.

    Returns:
        Group -> ``"right"`` (its images that are classified right) and ``"to_<group>"`` for every group (those that are taken for a
        wrong class of that group), in percent of the group's images; None for a group without an image.
    """
    right = np.diag(matrix)
    wrong = matrix - np.diag(right)
    found: dict[str, dict[str, float | None]] = {}
    for name, classes in groups.items():
        images = int(matrix[classes].sum())
        parts = {"right": right[classes].sum()}
        parts |= {f"to_{other}": wrong[np.ix_(classes, theirs)].sum() for other, theirs in groups.items()}
        found[name] = {part: 100 * float(count) / images if images else None for part, count in parts.items()}
    return found
