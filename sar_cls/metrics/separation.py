"""Compactness within classes and separation between them, as distances and as cosines, one figure a class.

Distances depend on the scale of the features, which methods change; cosines and the class-distance normalised variance do not.
Cosines are about the origin, as a cosine classifier sees the features; about the mean of all classes they are a part of neural
collapse (:func:`sar_cls.metrics.neural_collapse.nc2`).
"""

from __future__ import annotations

import numpy as np

from sar_cls.metrics.class_statistics import ClassStatistics


def within_distance(classes: ClassStatistics) -> np.ndarray:
    """Root mean square distance of a class's images to their mean, float [C]: sqrt(tr S_c). NaN below two images."""
    return np.sqrt(classes.variances)


def between_distance(classes: ClassStatistics) -> np.ndarray:
    """Distance of a class's mean to the others', in the mean over them, float [C]; NaN where one of them has no image."""
    return _mean_of_others(_distances(classes.means))


def nearest_distance(classes: ClassStatistics) -> np.ndarray:
    """Distance of a class's mean to the nearest other one, float [C]; NaN where a class has no image."""
    distances = _distances(classes.means)
    np.fill_diagonal(distances, np.inf)
    return distances.min(axis=1)


def normalized_variance(classes: ClassStatistics) -> np.ndarray:
    """Class-distance normalised variance, in the mean over the other classes b: (v_a + v_b) / (2 |m_a - m_b|^2), float [C].

    Galanti, György and Hutter, "On the Role of Neural Collapse in Transfer Learning", ICLR 2022
    (https://arxiv.org/abs/2112.15121), with v the variance of a class (n - 1 in the denominator). Small where classes are compact
    *and* far from each other, whatever the scale. NaN where a class has fewer than two images.
    """
    variances, squared = classes.variances, np.square(_distances(classes.means))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (variances[:, None] + variances) / (2 * squared)
    return _mean_of_others(ratio)


def within_cosine(classes: ClassStatistics) -> np.ndarray:
    """Cosine between two different images of a class, in the mean over all such pairs, float [C]; NaN below two images.

    With s the sum of a class's n features scaled to length one, this is (|s|^2 - n) / (n (n - 1)): no pair need be formed.
    """
    counts, squared = classes.counts, np.square(classes.directions).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 1, (counts * squared - 1) / (counts - 1.0), np.nan)


def between_cosine(classes: ClassStatistics) -> np.ndarray:
    """Cosine between an image of a class and one of another class, in the mean over both and over the other classes, float [C]."""
    return _mean_of_others(classes.directions @ classes.directions.T)


def nearest_cosine(classes: ClassStatistics) -> np.ndarray:
    """Cosine of a class's mean to the other class mean that points most nearly the same way, float [C]."""
    cosines = cosine_matrix(classes.means)
    np.fill_diagonal(cosines, -np.inf)
    return cosines.max(axis=1)


def cosine_matrix(vectors: np.ndarray) -> np.ndarray:
    """Cosines between the rows of [C, D], float [C, C]; NaN for a row that is zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, np.nan)
    return unit @ unit.T


def _distances(points: np.ndarray) -> np.ndarray:
    """Distances between the rows of [C, D], float [C, C]: from differences, since nearly equal means would cancel in a product."""
    return np.array([np.linalg.norm(points - point, axis=1) for point in points])


def _mean_of_others(matrix: np.ndarray) -> np.ndarray:
    """The mean of each row of [C, C] without its diagonal entry."""
    others = ~np.eye(len(matrix), dtype=bool)
    return matrix[others].reshape(len(matrix), len(matrix) - 1).mean(axis=1)
