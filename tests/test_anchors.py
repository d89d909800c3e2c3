"""Class anchors: the defining property of each kind, computed in float64 from the tensor itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.anchors import ANCHOR_KINDS, class_anchors, tight_frame

FITTING = {"normal": (7, 5), "orthogonal": (4, 6), "simplex": (5, 6), "tight_frame": (7, 4), "separated": (7, 4)}


def as_numpy(anchors: torch.Tensor) -> np.ndarray:
    return anchors.double().numpy()


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_shape_dtype_and_device(kind: str) -> None:
    anchors = class_anchors(kind, *FITTING[kind], seed=0)
    assert anchors.shape == FITTING[kind]
    assert anchors.dtype == torch.float32
    assert anchors.device.type == "cpu"
    assert anchors.is_contiguous()


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_seed_decides_the_anchors(kind: str) -> None:
    first, again = (class_anchors(kind, *FITTING[kind], seed=3) for _ in range(2))
    other = class_anchors(kind, *FITTING[kind], seed=4)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_seed_leaves_the_global_generator_alone(kind: str) -> None:
    before = torch.get_rng_state()
    class_anchors(kind, *FITTING[kind], seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_without_seed_the_global_generator_decides(kind: str) -> None:
    torch.manual_seed(11)
    first, second = (class_anchors(kind, *FITTING[kind]) for _ in range(2))
    torch.manual_seed(11)
    again = class_anchors(kind, *FITTING[kind])
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_default_device_and_dtype_change_nothing(kind: str, device: torch.device) -> None:
    expected = class_anchors(kind, *FITTING[kind], seed=5)
    torch.set_default_dtype(torch.float64)
    try:
        with device:
            anchors = class_anchors(kind, *FITTING[kind], seed=5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert anchors.dtype == torch.float32
    assert torch.equal(anchors, expected)


def test_normal_is_standard_normal() -> None:
    anchors = as_numpy(class_anchors("normal", 200, 300, seed=0))
    # 60,000 entries: 5 standard errors of the mean, of the variance and of the share within one sigma.
    assert abs(anchors.mean()) < 5 / np.sqrt(anchors.size)
    assert abs(anchors.var() - 1) < 5 * np.sqrt(2 / anchors.size)
    assert abs((np.abs(anchors) < 1).mean() - 0.6827) < 5 * np.sqrt(0.6827 * 0.3173 / anchors.size)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 20), st.integers(0, 10), st.integers(0, 1000))
def test_orthogonal_rows_are_orthonormal(num_classes: int, spare: int, seed: int) -> None:
    anchors = as_numpy(class_anchors("orthogonal", num_classes, num_classes + spare, seed=seed))
    np.testing.assert_allclose(anchors @ anchors.T, np.eye(num_classes), atol=1e-6)


def test_orthogonal_is_not_biased_towards_an_axis() -> None:
    # Without the sign correction of QR the first column of Q keeps one sign.
    signs = [float(class_anchors("orthogonal", 2, 3, seed=s)[0, 0]) > 0 for s in range(200)]
    assert 60 < sum(signs) < 140


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 20), st.integers(-1, 10), st.integers(0, 1000))
def test_simplex_has_equal_widest_angles(num_classes: int, spare: int, seed: int) -> None:
    anchors = as_numpy(class_anchors("simplex", num_classes, num_classes + spare, seed=seed))
    expected = np.full((num_classes, num_classes), -1 / (num_classes - 1))
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(anchors @ anchors.T, expected, atol=1e-6)
    np.testing.assert_allclose(anchors.sum(axis=0), 0, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 24), st.integers(1, 30), st.integers(0, 1000))
def test_tight_frame_has_unit_rows_and_orthogonal_equal_columns(feat_dim: int, extra: int, seed: int) -> None:
    num_classes = feat_dim + extra
    anchors = as_numpy(class_anchors("tight_frame", num_classes, feat_dim, seed=seed))
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(anchors.T @ anchors, num_classes / feat_dim * np.eye(feat_dim), atol=1e-5)
    if feat_dim > 1:
        distances = np.linalg.norm(anchors[:, None] - anchors[None], axis=2) + np.eye(num_classes)
        assert distances.min() > 1e-3


@pytest.mark.parametrize(("num_classes", "feat_dim"), [(100, 64), (200, 64), (1000, 512), (101, 33)])
def test_tight_frame__sizes_of_real_data_sets(num_classes: int, feat_dim: int) -> None:
    anchors = as_numpy(class_anchors("tight_frame", num_classes, feat_dim, seed=0))
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(anchors.T @ anchors, num_classes / feat_dim * np.eye(feat_dim), atol=1e-4)


def test_tight_frame_spreads_better_than_random_directions() -> None:
    frame = as_numpy(tight_frame(100, 64, torch.Generator().manual_seed(0)))
    random = np.random.default_rng(0).standard_normal((100, 64))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert ((frame @ frame.T) ** 2).sum() == pytest.approx(100**2 / 64, rel=1e-5)  # the least possible
    assert ((random @ random.T) ** 2).sum() > 1.3 * 100**2 / 64


def test_tight_frame_of_one_class_more_than_dimensions_is_a_simplex() -> None:
    anchors = as_numpy(class_anchors("tight_frame", 7, 6, seed=0))
    cosines = (anchors @ anchors.T)[~np.eye(7, dtype=bool)]
    np.testing.assert_allclose(cosines, -1 / 6, atol=1e-6)


def nearest_cosines(anchors: np.ndarray) -> np.ndarray:
    cosines = anchors @ anchors.T
    np.fill_diagonal(cosines, -2)
    return cosines.max(axis=1)


@pytest.mark.parametrize(("num_classes", "feat_dim"), [(4, 3), (10, 64), (3, 2), (2, 1), (2, 5)])
def test_separated_comes_near_to_a_simplex_where_there_is_one(num_classes: int, feat_dim: int) -> None:
    anchors = as_numpy(class_anchors("separated", num_classes, feat_dim, seed=0))
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(nearest_cosines(anchors), -1 / (num_classes - 1), atol=0.02)


@pytest.mark.parametrize(("num_classes", "feat_dim"), [(100, 64), (10, 3)])
def test_separated_keeps_neighbours_apart_where_a_tight_frame_does_not(num_classes: int, feat_dim: int) -> None:
    separated, frame, random = (
        as_numpy(torch.nn.functional.normalize(class_anchors(kind, num_classes, feat_dim, seed=0), dim=1))
        for kind in ("separated", "tight_frame", "normal")
    )
    assert nearest_cosines(separated).max() < nearest_cosines(frame).max() < nearest_cosines(random).max()


def test_separated_in_the_plane_is_a_regular_polygon() -> None:
    anchors = as_numpy(class_anchors("separated", 8, 2, seed=0))
    np.testing.assert_allclose(nearest_cosines(anchors), np.cos(2 * np.pi / 8), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "num_classes", "feat_dim", "nearest"),
    [
        ("orthogonal", 5, 4, "'simplex'"),
        ("orthogonal", 6, 4, "'tight_frame'"),
        ("simplex", 6, 4, "'tight_frame'"),
        ("tight_frame", 4, 4, "'orthogonal'"),
    ],
)
def test_no_exact_solution__names_the_nearest(kind: str, num_classes: int, feat_dim: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=nearest) as caught:
        class_anchors(kind, num_classes, feat_dim, seed=0)
    # What the message recommends exists.
    class_anchors(nearest.strip("'"), num_classes, feat_dim, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("gauss", 4, 4, 0), "choose one of normal, orthogonal, simplex, tight_frame, separated"),
        (("normal", 1, 4, 0), "at least 2"),
        (("normal", 4, 0, 0), "at least 1"),
        (("normal", 4, 4, -1), "at least 0"),
    ],
)
def test_wrong_argument(arguments: tuple, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        class_anchors(*arguments)
