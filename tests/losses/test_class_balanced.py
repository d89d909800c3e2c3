"""Effective-number weights: against the geometric sum, and their two limits."""

from __future__ import annotations

import loss_references as ref
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.losses import ClassBalancedCrossEntropy, FocalLoss, effective_number_weights


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(1, 600), min_size=2, max_size=6), beta=st.sampled_from([0.0, 0.5, 0.9, 0.999, 0.9999])
)
def test_weights_against_the_geometric_sum(counts: list[int], beta: float) -> None:
    weights = effective_number_weights(counts, beta)
    assert weights.tolist() == pytest.approx(ref.effective_number_weights(counts, beta), rel=1e-9)
    assert weights.sum().item() == pytest.approx(len(counts))


def test_limits() -> None:
    counts = [500, 50, 5]
    assert effective_number_weights(counts, 0.0).tolist() == pytest.approx([1, 1, 1])
    inverse = torch.tensor([1 / 500, 1 / 50, 1 / 5], dtype=torch.float64)
    torch.testing.assert_close(
        effective_number_weights(counts, 1 - 1e-12), 3 * inverse / inverse.sum(), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_refuses_beta_outside_its_range(beta: float) -> None:
    for loss in (ClassBalancedCrossEntropy, FocalLoss):
        with pytest.raises(ValueError, match="beta"):
            loss([5, 3], beta=beta)
