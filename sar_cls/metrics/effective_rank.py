"""How many directions features really use."""

from __future__ import annotations

import numpy as np


def effective_rank(vectors: np.ndarray) -> float:
    """exp(- sum_k p_k log p_k) with p_k the share of the k-th singular value of the centred rows, from 1 to min(n - 1, D).

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, of the matrix of centred features.
    With no more rows than columns it is bounded by their number, not by what the net does: whoever calls this for features
    should have n > D.

    Args:
        vectors: float [n, D]. Rows that are all alike have rank NaN.
    """
    values = np.asarray(vectors, dtype=np.float64)
    values = values - values.mean(axis=0)
    # The eigenvalues of the smaller Gram matrix are the squares of the singular values, and take a fraction of the time.
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    squares = np.linalg.eigvalsh(gram)
    # Below this lies what rounding has made of zeros; their roots would add up.
    squares = squares[squares > squares[-1] * max(values.shape) * np.finfo(np.float64).eps]
    if not squares.size:
        return float("nan")
    shares = np.sqrt(squares) / np.sqrt(squares).sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
