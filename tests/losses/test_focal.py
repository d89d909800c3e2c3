"""The focal loss: its limits."""

from __future__ import annotations

import pytest
import torch

from sar_cls.losses import FocalLoss, cross_entropy, focal_loss


def test_gamma_zero_is_cross_entropy() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 4
    torch.testing.assert_close(focal_loss(logits, labels, gamma=0.0), cross_entropy(logits, labels))


def test_a_sample_that_is_right_counts_less_the_larger_gamma() -> None:
    logits, labels = torch.tensor([[3.0, 0.0]]), torch.tensor([0])
    losses = [focal_loss(logits, labels, gamma).item() for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 5


def test_refuses_a_negative_gamma() -> None:
    with pytest.raises(ValueError, match="gamma"):
        FocalLoss([5, 3], gamma=-1.0)
