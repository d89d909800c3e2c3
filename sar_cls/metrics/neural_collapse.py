"""Neural collapse, NC1 to NC4.

Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training", PNAS 117 (40), 2020
(https://arxiv.org/abs/2008.08186). All four fall to zero where a net has collapsed. The paper's classes are of one size; here each
class counts the same however many images it has, and a part of the classes (a shot group) is seen among all of them: centre, number
of classes and between-class covariance are those of all C classes, so that groups can be compared with each other.
"""

from __future__ import annotations

import numpy as np

from sar_cls.metrics.class_statistics import ClassStatistics
from sar_cls.metrics.separation import cosine_matrix


def nc1(classes: ClassStatistics) -> np.ndarray:
    """Variability within classes, each class's part, float [C]; their mean is NC1 = tr(S_W S_B^+) / C.

    S_W is the mean of the classes' covariances, S_B the covariance of their means (:func:`class_statistics.between_inverse`), so
    that a class's part is tr(S_c S_B^+) / C. S_c has n_c - 1 in its denominator where the paper has n_c. NaN below two images.
    """
    return classes.collapse / classes.num_classes


def nc2_norms(vectors: np.ndarray, members: np.ndarray) -> float:
    """How unequal the lengths of centred class vectors are: their standard deviation over their mean (the paper's Fig. 2).

    Args:
        vectors: float [C, D], class means or the classifier's weights; they are centred here.
        members: int [k], the classes to look at, at least one.
    """
    lengths = np.linalg.norm(centred(vectors), axis=1)[members]
    return float(lengths.std() / lengths.mean()) if lengths.any() else float("nan")


def nc2_angles(vectors: np.ndarray, members: np.ndarray) -> float:
    """How unequal the angles between centred class vectors are: the standard deviation of their cosines (the paper's Fig. 3).

    Args:
        vectors: float [C, D]; they are centred here.
        members: int [k], the classes between which the cosines are taken, at least two.
    """
    return float(_cosines(vectors, members).std())


def nc2_simplex(vectors: np.ndarray, members: np.ndarray) -> float:
    """How far the angles are from a simplex's: the mean of |cos + 1 / (C - 1)| (the paper's Fig. 4); arguments as for angles."""
    return float(np.abs(_cosines(vectors, members) + 1 / (len(vectors) - 1)).mean())


def nc3(means: np.ndarray, weights: np.ndarray, members: np.ndarray) -> float:
    """How far the classifier's weights are from the centred class means: |W / |W| - M / |M||^2, Frobenius norms (Fig. 5).

    From 0 (the same up to scale) through 2 (orthogonal) to 4 (opposite).

    Args:
        means: float [C, D], of the training images; they are centred here.
        weights: float [C, D], as they are.
        members: int [k], the rows to compare; each side is scaled to length one after they are chosen.
    """
    sides = [part[members] for part in (centred(means), weights)]
    lengths = [np.linalg.norm(side) for side in sides]
    if not all(lengths):
        return float("nan")
    return float(np.square(sides[0] / lengths[0] - sides[1] / lengths[1]).sum())


def nearest_class(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The class whose mean is nearest to each feature [n, D], int64 [n]; of several equally near ones the first.

    A class without an image, whose mean is NaN, is never the nearest.
    """
    present = np.flatnonzero(~np.isnan(means).any(axis=1))
    shift = means[present].mean(axis=0)  # nearer to the origin less is lost in |m|^2 - 2 m'f
    centres = means[present] - shift
    scores = np.square(centres).sum(axis=1) - 2 * ((features - shift) @ centres.T)
    return present[scores.argmin(axis=1)]


def nc4(features: np.ndarray, predictions: np.ndarray, train_means: np.ndarray) -> np.ndarray:
    """Whether the classifier decides otherwise than the nearest mean of a training class, bool [n]; its mean is NC4 (Fig. 7).

    Args:
        features: float [n, D], of test images as in the paper's figure.
        predictions: int [n], the classifier's decisions.
        train_means: float [C, D].
    """
    return nearest_class(features, train_means) != predictions


def centred(vectors: np.ndarray) -> np.ndarray:
    """Class vectors [C, D] minus their mean."""
    return vectors - vectors.mean(axis=0)


def _cosines(vectors: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Cosines between the centred vectors of each pair of classes."""
    return cosine_matrix(centred(vectors)[members])[np.triu_indices(len(members), 1)]
