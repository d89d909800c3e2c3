"""Focal loss: samples that are already right count less."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, expected_cost, negative_log_likelihood
from sar_cls.losses.class_balanced import effective_number_weights


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of ``-alpha_y (1 - p_y)^gamma log p_y`` with softmax probabilities.

    Args:
        logits: [N, C].
        targets: [N] int64, or soft [N, C]: then the targets' weighted mean of this loss.
        gamma: At least 0; 0 is cross-entropy.
        class_weights: alpha [C]; ``None`` is 1 for every class.
    """
    nll = negative_log_likelihood(logits)
    # 1 - p keeps its digits near p = 1 this way; at exactly 0 the power's derivative would be infinite for gamma < 1.
    wrong = (-torch.expm1(-nll)).clamp_min(torch.finfo(nll.dtype).tiny)
    cost = wrong**gamma * nll
    if class_weights is not None:
        cost = class_weights.to(cost) * cost
    return expected_cost(cost, targets)


class FocalLoss(ClassCountLoss):
    """Focal loss over the softmax.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 4 (https://arxiv.org/abs/1708.02002), and with
    ``beta`` Eq. 5, whose alpha is then the class-balanced weight of Cui et al. 2019. The paper writes it for a sigmoid;
    with one right class of many, p is the softmax probability of that class.

    Args:
        class_counts: Training images per class [C].
        gamma: Focusing parameter, at least 0: 2 in its paper; 1 in the comparison of LDAM (Cao et al. 2019) on long tails.
        beta: Where given, alpha is ``effective_number_weights(class_counts, beta)``; otherwise all ones.

    Raises:
        ValueError: Bad counts, a negative gamma, or beta outside [0, 1).
    """

    class_weights: Tensor | None

    def __init__(self, class_counts: ClassCounts, gamma: float = 2.0, beta: float | None = None) -> None:
        super().__init__(class_counts)
        if not gamma >= 0:
            raise ValueError(f"gamma must be at least 0, not {gamma}.")
        self.gamma = gamma
        weights = None if beta is None else effective_number_weights(class_counts, beta)
        self.register_buffer("class_weights", None if weights is None else weights.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return focal_loss(logits, targets, self.gamma, self.class_weights)
