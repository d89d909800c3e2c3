"""Generalized re-weighting: its class weights. The loss itself stands in test_all_losses.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sar_cls.losses import GeneralizedReweighting, generalized_weights

from . import loss_references as ref

some_counts = st.lists(st.integers(1, 10**9), min_size=2, max_size=20)


@given(some_counts, st.floats(0, 2), st.integers(0, 3))
def test_weights_follow_the_formula(counts: list[int], rho: float, absent: int) -> None:
    counts = counts + [0] * absent
    np.testing.assert_allclose(
        generalized_weights(counts, rho).numpy(), ref.generalized_weights(counts, rho), rtol=1e-9
    )


@given(some_counts, st.floats(0.1, 2), st.integers(2, 9))
def test_what_counts_is_the_share_and_rare_classes_weigh_more(counts: list[int], rho: float, factor: int) -> None:
    weights = generalized_weights(counts, rho)
    assert weights.mean().item() == pytest.approx(1)
    torch.testing.assert_close(generalized_weights([factor * count for count in counts], rho), weights)
    order = torch.argsort(torch.tensor(counts), descending=True)
    assert bool((weights[order].diff() >= -1e-12).all())


def test_ends_of_the_exponent() -> None:
    assert generalized_weights([900, 90, 9], 0.0).tolist() == [1, 1, 1]
    weights = generalized_weights([900, 90, 9], 1.0)
    assert (weights[2] / weights[0]).item() == pytest.approx(100)


def test_divided_by_the_weights_it_is_torch_s_weighted_cross_entropy() -> None:
    logits, labels = torch.randn(9, 3), torch.arange(9) % 3
    loss = GeneralizedReweighting([50, 5, 1], rho=0.7, divide_by="weights")
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels, weight=loss.class_weights))


@pytest.mark.parametrize(
    ("counts", "rho", "message"),
    [
        ([[1, 2]], 1.0, "one number of at least 0 for each class"),
        ([3, -1], 1.0, "one number of at least 0 for each class"),
        ([3, 0], 1.0, "above 0 for two"),
        ([3, 1], -0.1, "rho must be at least 0"),
        ([3, 1], float("nan"), "rho must be at least 0"),
    ],
)
def test_bad_values(counts: list, rho: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generalized_weights(counts, rho)


def test_bad_values_of_the_loss() -> None:
    with pytest.raises(ValueError, match="unknown divide_by 'rows': choose one of batch, weights"):
        GeneralizedReweighting([3, 1], divide_by="rows")
    with pytest.raises(ValueError, match="Every class needs a training image"):
        GeneralizedReweighting([3, 1, 0])
