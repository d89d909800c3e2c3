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
    members = np.arange(len(ours)) if members is None else members
    pairs = np.triu_indices(len(members), 1)
    entries = []
    for vectors in (ours, theirs):
        middle = centred(vectors)[members]
        products = (middle @ middle.T)[pairs]
        entries.append(products - products.mean() if products.size else products)
    lengths = [np.linalg.norm(part) for part in entries]
    sizes = [np.square(centred(vectors)).sum(axis=1).max() for vectors in (ours, theirs)]
    if len(pairs[0]) < 2 or any(length <= 1e-6 * size for length, size in zip(lengths, sizes, strict=True)):
        return float("nan")
    return float(entries[0] @ entries[1] / (lengths[0] * lengths[1]))
