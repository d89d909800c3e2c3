"""Confusion between classes, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sar_cls.errors import InputError
from sar_cls.metrics.confusion import (
    ConfusedPair,
    between_groups,
    confusion_matrix,
    confusion_rates,
    most_confused,
)

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
PREDICTIONS = np.array([0, 0, 0, 1, 0, 1, 0, 1, 2, 1])
MATRIX = np.array([[3, 1, 0, 0], [1, 1, 0, 0], [1, 2, 1, 0], [0, 0, 0, 0]])


def test_matrix_and_rates() -> None:
    found = confusion_matrix(PREDICTIONS, LABELS, 4)
    np.testing.assert_array_equal(found, MATRIX)
    expected = np.array([[75, 25, 0, 0], [50, 50, 0, 0], [25, 50, 25, 0], [np.nan] * 4])
    np.testing.assert_array_equal(confusion_rates(found), expected)


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 7, (2, 500))
    expected = np.zeros((7, 7), dtype=int)
    for prediction, label in zip(predictions, labels, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(confusion_matrix(predictions, labels, 7), expected)


def test_most_confused() -> None:
    pairs = most_confused(confusion_rates(MATRIX))
    assert pairs == [
        ConfusedPair(1, 0, 50.0, 25.0),
        ConfusedPair(2, 1, 50.0, 0.0),
        ConfusedPair(2, 0, 25.0, 0.0),
    ]
    assert most_confused(confusion_rates(MATRIX), most=1) == pairs[:1]
    assert most_confused(100 * np.eye(3)) == []


def test_head_against_tail() -> None:
    groups = {"many_shot": np.array([0, 1]), "few_shot": np.array([2]), "none": np.array([3])}
    found = between_groups(MATRIX, groups)
    assert found["many_shot"] == pytest.approx(
        {"right": 400 / 6, "to_many_shot": 200 / 6, "to_few_shot": 0, "to_none": 0}
    )
    assert found["few_shot"] == {"right": 25, "to_many_shot": 75, "to_few_shot": 0, "to_none": 0}
    assert set(found["none"].values()) == {None}
    for parts in (found["many_shot"], found["few_shot"]):
        assert sum(value for value in parts.values() if value is not None) == pytest.approx(100)


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [([0, 1], [0]), ([[0]], [[0]]), ([0, 4], [0, 1]), ([0, -1], [0, 1]), ([0.0, 1.0], [0.0, 1.0])],
    ids=str,
)
def test_bad_input(predictions: list[int], labels: list[int]) -> None:
    with pytest.raises(InputError, match="predictions"):
        confusion_matrix(np.array(predictions), np.array(labels), 4)
