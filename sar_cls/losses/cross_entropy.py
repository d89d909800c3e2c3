"""Cross-entropy with hard or soft targets."""

from __future__ import annotations

from torch import Tensor

from sar_cls.losses.base import expected_cost, negative_log_likelihood


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of ``-sum_c y_c log p_c``.

    Args:
        logits: [N, C].
        targets: [N] int64 or soft [N, C]; with mixup's ``lam y_a + (1-lam) y_b`` this is
            ``lam CE(y_a) + (1-lam) CE(y_b)`` (Zhang et al., "mixup", ICLR 2018, https://arxiv.org/abs/1710.09412).
    """
    return expected_cost(negative_log_likelihood(logits), targets)
