"""Balanced softmax and logit adjustment: how they relate to each other and to cross-entropy."""

from __future__ import annotations

import pytest
import torch

from sar_cls.losses import BalancedSoftmax, LogitAdjustment, cross_entropy, log_prior
from sar_cls.metrics.correction import adjust_logits

COUNTS = [500, 60, 7]


def test_log_prior() -> None:
    assert log_prior(COUNTS).exp().tolist() == pytest.approx([500 / 567, 60 / 567, 7 / 567], rel=1e-12)


def test_balanced_softmax_is_logit_adjustment_with_tau_one() -> None:
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 3
    expected = LogitAdjustment(COUNTS, tau=1.0)(logits, labels)
    torch.testing.assert_close(BalancedSoftmax(COUNTS)(logits, labels), expected, rtol=1e-6, atol=1e-7)


def test_tau_zero_or_equal_counts_is_cross_entropy() -> None:
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 3
    expected = cross_entropy(logits, labels)
    torch.testing.assert_close(LogitAdjustment(COUNTS, tau=0.0)(logits, labels), expected)
    torch.testing.assert_close(BalancedSoftmax([9, 9, 9])(logits, labels), expected)


def test_train_time_offsets_undo_the_post_hoc_ones() -> None:
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 3
    adjusted = adjust_logits(logits, COUNTS, tau=1.3)
    expected = cross_entropy(logits, labels)
    torch.testing.assert_close(LogitAdjustment(COUNTS, tau=1.3)(adjusted, labels), expected, rtol=1e-6, atol=1e-7)
