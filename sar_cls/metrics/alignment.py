"""How class means lie to the classifier's weights and to semantic anchors, one figure a class."""

from __future__ import annotations

import numpy as np

from sar_cls.metrics.neural_collapse import centred, nearest_class


def row_cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Cosine of each row of [C, D] with the same row of the other, float [C]; NaN where one of the two is zero."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)


def weight_cosine(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cosine of each class mean, centred over the classes, with the classifier's weights of that class, float [C].

    Means are centred as in NC3: a part that all classes share adds the same to no logit alone.
    """
    return row_cosines(centred(means), weights)


def anchor_cosine(means: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Cosine of each class mean with its anchor, float [C]; about the origin: features are pulled to the anchors themselves."""
    return row_cosines(means, anchors)


def anchor_distance(means: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Distance of each class mean to its anchor, float [C]."""
    return np.linalg.norm(means - anchors, axis=1)


def anchor_is_nearest(means: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Whether a class mean is nearer to its own anchor than to any other's, 0 or 1, float [C]; NaN for a class without a mean."""
    own = np.arange(len(means))
    return np.where(np.isnan(means).any(axis=1), np.nan, nearest_class(np.nan_to_num(means), anchors) == own)
