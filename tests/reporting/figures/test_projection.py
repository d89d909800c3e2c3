"""Vectors in a plane."""

from __future__ import annotations

import numpy as np
import pytest

from sar_cls.reporting.figures import projection


def test_principal_components_against_the_eigenvectors_of_the_covariance() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1]
    found = projection.project(vectors)
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    for place in (0, 1):
        expected = centred @ axes[:, -1 - place]
        np.testing.assert_allclose(np.abs(found.points[:, place]), np.abs(expected), atol=1e-9)
    share = 100 * values[-2:].sum() / values.sum()
    assert found.method.startswith(f"the first two principal components ({share:.0f} % of the variance; not UMAP")
    assert found.axes == ("PC 1", "PC 2")
    # The sign does not depend on that of the vectors' order or on the library.
    np.testing.assert_allclose(projection.project(vectors[::-1]).points[::-1], found.points, atol=1e-9)


def test_equal_points_and_a_single_direction() -> None:
    assert not projection.project(np.ones((5, 3))).points.any()
    line = projection.project(np.arange(5.0)[:, None]).points
    np.testing.assert_allclose(np.abs(line[:, 0]), [2, 1, 0, 1, 2], atol=1e-12)


def test_umap_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed (extra viz)")
    monkeypatch.undo()
    vectors = np.random.default_rng(0).normal(size=(20, 5))
    one, two = projection.project(vectors), projection.project(vectors)
    np.testing.assert_array_equal(one.points, two.points)
    assert one.points.shape == (20, 2)
    assert "UMAP (umap-learn" in one.method
    few = projection.project(vectors[:5])
    assert "fewer than 12 points" in few.method


def test_a_missing_umap_is_seen_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not projection.has_umap()
    assert "umap-learn is not installed" in projection.project(np.eye(20)).method
