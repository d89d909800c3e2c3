"""Statistics of each class against loops over images, and what must hold whatever the features are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.errors import InputError
from sar_cls.metrics.class_statistics import between_inverse, class_statistics


def drawn(classes: int, width: int, counts: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), counts))
    return rng.normal(size=(classes, width))[labels] * 2 + rng.normal(size=(len(labels), width)), labels


@pytest.mark.parametrize(("classes", "width"), [(3, 5), (6, 4), (2, 1)], ids=["wide", "more classes than D", "one D"])
def test_against_loops(classes: int, width: int) -> None:
    features, labels = drawn(classes, width, counts=[2 + 3 * label for label in range(classes)])
    found = class_statistics(features, labels, classes)
    means = np.array([[np.mean([f[d] for f, y in zip(features, labels, strict=True) if y == c]) for d in range(width)]
                      for c in range(classes)])  # fmt: skip
    centre = means.mean(axis=0)
    between = sum(np.outer(m - centre, m - centre) for m in means) / classes
    inverse = np.linalg.pinv(between, rcond=1e-10, hermitian=True)
    for c in range(classes):
        own = [f for f, y in zip(features, labels, strict=True) if y == c]
        covariance = sum(np.outer(f - means[c], f - means[c]) for f in own) / (len(own) - 1)
        assert found.counts[c] == len(own)
        np.testing.assert_allclose(found.means[c], means[c], atol=1e-12)
        np.testing.assert_allclose(found.directions[c], sum(f / np.sqrt(f @ f) for f in own) / len(own), atol=1e-12)
        np.testing.assert_allclose(found.variances[c], np.trace(covariance), rtol=1e-12)
        np.testing.assert_allclose(found.collapse[c], np.trace(covariance @ inverse), rtol=1e-8)


def test_classes_of_one_image_or_none() -> None:
    features, labels = drawn(4, 3, counts=[3, 1, 0, 2])
    found = class_statistics(features, labels, 4)
    assert found.counts.tolist() == [3, 1, 0, 2]
    assert np.isnan(found.means).any(axis=1).tolist() == [False, False, True, False]
    assert np.isnan(found.directions).any(axis=1).tolist() == [False, False, True, False]
    for values in (found.variances, found.collapse):
        assert np.isnan(values).tolist() == [False, True, True, False]


def test_a_zero_feature_has_no_direction() -> None:
    found = class_statistics(np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]]), np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(found.directions, [[np.nan, np.nan], [1.0, 0.0]])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_what_a_rotation_a_shift_and_a_scale_do(seed: int, scale: float, shift: float) -> None:
    features, labels = drawn(4, 6, counts=[5, 9, 2, 4], seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    before, after = (class_statistics(f, labels, 4) for f in (features, scale * features @ rotation + shift))
    np.testing.assert_allclose(after.variances, scale**2 * before.variances, rtol=1e-6)
    np.testing.assert_allclose(after.collapse, before.collapse, rtol=1e-6)


def test_the_inverse_ignores_what_is_only_rounding() -> None:
    means = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    inverse = between_inverse(means)
    noisy = between_inverse(means + np.array([0, 0, 1e-9]) * np.array([[1], [-1], [1]]))
    assert inverse.shape == (3, 2)
    np.testing.assert_allclose(noisy @ noisy.T, inverse @ inverse.T, atol=1e-6)
    assert between_inverse(np.ones((3, 4))).shape == (4, 0)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones(3), np.zeros(3, int), "features must be floats"),
        (np.ones((3, 2), int), np.zeros(3, int), "features must be floats"),
        (np.ones((3, 2)), np.zeros(2, int), "labels must be whole numbers"),
        (np.ones((3, 2)), np.zeros(3), "labels must be whole numbers"),
        (np.ones((3, 2)), np.full(3, 2), "there are 2 classes"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "3 of 3 images are not finite"),
    ],
    ids=str,
)
def test_bad_input(features: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_statistics(features, labels, 2)
