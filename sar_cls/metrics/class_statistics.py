"""What is known of the features of each class: where they lie, how widely they spread, which way they point.

Everything that :mod:`sar_cls.metrics.geometry` says of a set of images follows from these few numbers a class, so that a run keeps
them of its training images instead of the features themselves. float64 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sar_cls.errors import InputError

FLOAT32_EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of the features [n, D] of C classes.

    Attributes:
        counts: int64 [C], images of each class.
        means: float [C, D], class means; NaN for a class without an image.
        directions: float [C, D], means of the features scaled to length one; NaN for a class without an image or with a feature
            that is all zero. Cosines between images follow from them (:mod:`sar_cls.metrics.separation`).
        variances: float [C], squared distance of an image to its class mean, in the mean over the class: the trace of the class's
            covariance S_c. Divided by n_c - 1, else a class of five images would look a fifth more compact than it is. NaN for
            fewer than two images.
        collapse: float [C], tr(S_c S_B^+), the class's part in NC1 (:func:`sar_cls.metrics.neural_collapse.nc1`); NaN for fewer
            than two images.
    """

    counts: np.ndarray
    means: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    collapse: np.ndarray

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.counts)


def class_statistics(features: np.ndarray, labels: np.ndarray, num_classes: int) -> ClassStatistics:
    """The statistics of each class, computed class by class: no copy of all features is made.

    Args:
        features: float [n, D].
        labels: int [n] in [0, C).
        num_classes: C.

    Raises:
        InputError: shapes that do not fit, labels outside [0, C), or features that are not finite.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    _check(features, labels, num_classes)
    width = features.shape[1]
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=num_classes).astype(np.int64)
    members = np.split(order, np.cumsum(counts)[:-1])
    means, directions = np.full((2, num_classes, width), np.nan)
    variances, collapse = np.full((2, num_classes), np.nan)
    for label, rows in enumerate(members):
        if len(rows):
            own = features[rows].astype(np.float64)
            means[label] = own.mean(axis=0)
            length = np.linalg.norm(own, axis=1, keepdims=True)
            directions[label] = (own / np.where(length > 0, length, np.nan)).mean(axis=0)
    inverse = between_inverse(means)
    for label, rows in enumerate(members):
        if len(rows) > 1:
            residuals = features[rows].astype(np.float64) - means[label]
            variances[label] = np.square(residuals).sum() / (len(rows) - 1)
            collapse[label] = np.square(residuals @ inverse).sum() / (len(rows) - 1)
    return ClassStatistics(counts, means, directions, variances, collapse)


def between_inverse(means: np.ndarray) -> np.ndarray:
    """A matrix A [D, r] with A A' = S_B^+, the pseudo-inverse of the covariance of the class means.

    S_B = 1/C sum_c (m_c - m)(m_c - m)' over the classes that have images, m the mean of their means. Directions in which the means
    spread less than float32's rounding of the widest one count as none, as do more than C - 1 of them.

    Args:
        means: float [C, D]; rows of NaN are left out.
    """
    present = means[~np.isnan(means).any(axis=1)]
    centred = present - present.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    kept = spread > (spread[0] if len(spread) else 0.0) * FLOAT32_EPS * max(centred.shape)
    kept[max(0, len(present) - 1) :] = False
    return axes[kept].T * (np.sqrt(len(present)) / spread[kept])


def _check(features: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        raise InputError(f"features must be floats [n, D], not {features.dtype} {list(features.shape)}")
    if labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be whole numbers [{len(features)}] to fit the features, not {labels.dtype} {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()} but there are {num_classes} classes: "
            "check that features and classes are of one run"
        )
    bad = int((~np.isfinite(features)).any(axis=1).sum())
    if bad:
        raise InputError(f"the features of {bad} of {len(features)} images are not finite: the training has diverged")
