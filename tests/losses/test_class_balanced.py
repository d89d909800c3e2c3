"""Effective-number weights: against the geometric sum, and their two limits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sar_cls.losses import ClassBalancedCrossEntropy, FocalLoss, effective_number_weights, weighted_cross_entropy

from . import loss_references as ref


def one_hot(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, num_classes).double()


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


@pytest.mark.parametrize("soft", [False, True])
def test_divided_by_the_weights(soft: bool) -> None:
    """As the published code of LDAM compares with it: weights / sum(weights) * C, handed to torch's cross-entropy."""
    counts = [500, 50, 5]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 0])
    other = labels.flip(0)
    weights = ref.effective_number_weights(counts, 0.9999)
    lam = 0.3 if soft else 1.0
    cost, total = 0.0, 0.0
    for z, a, b in zip(logits.numpy(), labels.tolist(), other.tolist(), strict=True):
        for share, y in ((lam, a), (1 - lam, b)):
            cost += share * weights[y] * ref.nll(z, y)
            total += share * weights[y]
    loss = ClassBalancedCrossEntropy(counts, divide_by="weights")
    targets = lam * one_hot(labels, 3) + (1 - lam) * one_hot(other, 3) if soft else labels
    assert loss(logits, targets).item() == pytest.approx(cost / total, rel=1e-6)
    if not soft:
        reference = cross_entropy(logits, labels, weight=torch.tensor(weights, dtype=torch.float64))
        assert loss(logits, labels).item() == pytest.approx(reference.item(), rel=1e-6)
    assert ClassBalancedCrossEntropy(counts)(logits, targets).item() == pytest.approx(cost / 8, rel=1e-6)


def test_refuses_an_unknown_divisor() -> None:
    with pytest.raises(ValueError, match=r"divide_by.*batch, weights"):
        ClassBalancedCrossEntropy([5, 3], divide_by="sum")
    with pytest.raises(ValueError, match=r"divide_by.*batch, weights"):
        weighted_cross_entropy(torch.zeros(2, 2), torch.tensor([0, 1]), torch.ones(2), divide_by="sum")
