"""Whether two runs arrange their classes alike, whatever rotation, shift or scale lies between their features."""

from __future__ import annotations

import numpy as np

from sar_cls.metrics.neural_collapse import centred


def gram_agreement(ours: np.ndarray, theirs: np.ndarray, members: np.ndarray | None = None) -> float:
    """Correlation between the class geometries of two runs, from -1 to 1.

    Pearson's correlation between the entries above the diagonal of the Gram matrices M M' of the centred class vectors: which
    classes lie near to each other and which far apart. Features of two seeds differ by a rotation at least, which no Gram matrix
    sees; neither shift nor scale changes the correlation. (The idea of representational similarity analysis, Kriegeskorte et al.
    2008.) Two perfect simplices agree in their diagonals alone: there is nothing to correlate, and the result is NaN.

    Args:
        ours: float [C, D], class means, anchors or weights of one run.
        theirs: float [C, D'], of another; D' may be another width.
        members: int [k], the classes between which it is taken; None for all. Fewer than three have fewer than two pairs: NaN.

    Raises:
        ValueError: other numbers of classes.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} classes cannot be compared with {len(theirs)}")
    return correlation(gram_signature(ours, members), gram_signature(theirs, members))


def gram_signature(vectors: np.ndarray, members: np.ndarray | None = None) -> np.ndarray | None:
    """The entries above the diagonal of a run's Gram matrix minus their mean, scaled to length one.

    The correlation of two runs is the product of their signatures, so that many runs are compared at the cost of one matrix each.

    Args:
        vectors: float [C, D].
        members: int [k]; None for all.

    Returns:
        float [k (k - 1) / 2]; None where there is nothing to correlate.
    """
    members = np.arange(len(vectors)) if members is None else members
    middle = centred(vectors)
    products = (middle[members] @ middle[members].T)[np.triu_indices(len(members), 1)]
    if len(products) < 2:
        return None
    entries = products - products.mean()
    length, size = np.linalg.norm(entries), np.square(middle).sum(axis=1).max()
    return entries / length if length > 1e-6 * size else None


def correlation(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    """Of two signatures; NaN where one of them is None."""
    return float("nan") if ours is None or theirs is None else float(ours @ theirs)
