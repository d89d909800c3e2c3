"""Points in a plane: UMAP where umap-learn is installed, principal components where it is not."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np

RANDOM_STATE = 0
NEIGHBOURS, LEAST_DISTANCE = 15, 0.1
# UMAP's spectral start needs some points; so few are seen whole by principal components anyway.
FEWEST_POINTS = 12


@dataclass(frozen=True)
class Projection:
    """Vectors laid out in a plane.

    Attributes:
        points: float [n, 2].
        axes: names of both axes.
        method: how, for a caption.
    """

    points: np.ndarray
    axes: tuple[str, str]
    method: str


def project(vectors: np.ndarray) -> Projection:
    """Lays out vectors in a plane; the same vectors give the same points.

    UMAP: McInnes, Healy and Melville 2018 (https://arxiv.org/abs/1802.03426), by umap-learn.

    Args:
        vectors: float [n, D], finite, n at least 3.
    """
    if has_umap() and len(vectors) >= FEWEST_POINTS:
        return _umap(vectors)
    return _principal_components(vectors)


def has_umap() -> bool:
    """Whether umap-learn is installed; it is not imported, which takes seconds."""
    try:
        return importlib.util.find_spec("umap") is not None
    except ValueError:  # somebody put None in its place
        return False


def _umap(vectors: np.ndarray) -> Projection:
    neighbours = min(NEIGHBOURS, len(vectors) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a random state means one thread, and that there is no TensorFlow
        import umap

        points = umap.UMAP(
            n_components=2, n_neighbors=neighbours, min_dist=LEAST_DISTANCE, random_state=RANDOM_STATE, n_jobs=1
        ).fit_transform(np.asarray(vectors, dtype=np.float32))
    method = (
        f"UMAP (umap-learn {umap.__version__}; {neighbours} neighbours, least distance {LEAST_DISTANCE}, random state "
        f"{RANDOM_STATE}; it keeps neighbourhoods, not distances)"
    )
    return Projection(np.asarray(points, dtype=np.float64), ("UMAP 1", "UMAP 2"), method)


def _principal_components(vectors: np.ndarray) -> Projection:
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    left, spread, axes = np.linalg.svd(centred, full_matrices=False)
    shares = np.square(spread[:2]) / max(np.square(spread).sum(), np.finfo(float).tiny)
    # The sign of an axis is arbitrary: the largest entry of each is positive.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    points = np.zeros((len(vectors), 2))
    kept = min(2, len(spread))
    points[:, :kept] = (left * spread * signs)[:, :kept]
    why = "umap-learn is not installed" if not has_umap() else f"fewer than {FEWEST_POINTS} points"
    method = f"the first two principal components ({100 * shares.sum():.0f} % of the variance; not UMAP: {why})"
    return Projection(points, ("PC 1", "PC 2"), method)
