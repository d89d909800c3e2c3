"""Losses that put the class prior into the softmax: balanced softmax and logit adjustment."""

from __future__ import annotations

from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, checked_counts, full_precision
from sar_cls.losses.cross_entropy import cross_entropy


def log_prior(class_counts: ClassCounts) -> Tensor:
    """``log(N_c / sum N)``, float64 [C].

    Raises:
        ValueError: Fewer than two classes, or a class without an image.
    """
    counts = checked_counts(class_counts)
    return (counts / counts.sum()).log()


def logit_adjusted_cross_entropy(logits: Tensor, targets: Tensor, offsets: Tensor) -> Tensor:
    """Cross-entropy of ``logits + offsets``.

    Args:
        logits: [N, C].
        targets: [N] int64 or soft [N, C].
        offsets: [C], ``tau log pi``.
    """
    logits = full_precision(logits)
    return cross_entropy(logits + offsets.to(logits), targets)


class LogitAdjustment(ClassCountLoss):
    """Logit-adjusted softmax cross-entropy: cross-entropy of ``z + tau log pi`` while training, ``z`` at test.

    Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021, Eq. 10 (https://arxiv.org/abs/2007.07314).

    Args:
        class_counts: Training images per class [C]; pi is their share.
        tau: Strength; 1 is consistent for the balanced error.
    """

    offsets: Tensor

    def __init__(self, class_counts: ClassCounts, tau: float = 1.0) -> None:
        super().__init__(class_counts)
        self.register_buffer("offsets", tau * log_prior(class_counts).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return logit_adjusted_cross_entropy(logits, targets, self.offsets)


class BalancedSoftmax(ClassCountLoss):
    """Balanced softmax: ``-log( N_y e^{z_y} / sum_c N_c e^{z_c} )`` while training, ``z`` at test.

    Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020, Theorem 1
    (https://arxiv.org/abs/2007.10740). The same function as ``LogitAdjustment`` with tau = 1, found independently.

    Args:
        class_counts: Training images per class [C].
    """

    offsets: Tensor

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__(class_counts)
        self.register_buffer("offsets", checked_counts(class_counts).log().float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return logit_adjusted_cross_entropy(logits, targets, self.offsets)
