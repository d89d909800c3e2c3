"""Class-balanced re-weighting by the effective number of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, checked_counts, expected_cost, negative_log_likelihood
from sar_cls.whole_batch import total


def effective_number_weights(class_counts: ClassCounts, beta: float = 0.9999) -> Tensor:
    """Class weights ``(1 - beta) / (1 - beta^N_c)``, scaled so that they sum to C; float64 [C].

    ``beta = 0`` weights all classes alike; ``beta -> 1`` weights by inverse frequency.

    Raises:
        ValueError: Bad counts, or beta outside [0, 1).
    """
    counts = checked_counts(class_counts)
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), not {beta}.")
    # 1 - beta^N without the cancellation that beta near 1 brings.
    effective = -torch.expm1(counts * torch.log(torch.tensor(beta, dtype=torch.float64)))
    weights = (1 - beta) / effective
    return weights * len(counts) / weights.sum()


DIVISORS = ("batch", "weights")


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor, divide_by: str = "batch", whole_batch: bool = False
) -> Tensor:
    """Sum over the batch of ``w_y nll_y``, divided by the number of samples or by the sum of their weights.

    Args:
        logits: [N, C].
        targets: [N] int64 or soft [N, C].
        class_weights: [C].
        divide_by: ``"batch"``: N, so that a batch of rare classes counts more than one of frequent classes.
            ``"weights"``: ``sum_i w_{y_i}``, as torch's weighted cross-entropy does with class indices.
        whole_batch: whether that sum, and the one above it, is over the batches of all processes.

    Raises:
        ValueError: an unknown ``divide_by``.
    """
    if divide_by not in DIVISORS:
        raise ValueError(f"unknown divide_by {divide_by!r}: choose one of {', '.join(DIVISORS)}.")
    nll = negative_log_likelihood(logits)
    weights = class_weights.to(nll)
    loss = expected_cost(weights * nll, targets)
    if divide_by == "batch":
        return loss
    mean_weight = expected_cost(weights.expand_as(nll), targets)
    if whole_batch:
        loss, mean_weight = total(torch.stack([loss, mean_weight]) * len(nll))
    return loss / mean_weight


class ClassBalancedCrossEntropy(ClassCountLoss):
    """Cross-entropy re-weighted by the inverse effective number of samples of the right class.

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, class-balanced softmax
    cross-entropy ``(1 - beta) / (1 - beta^{N_y}) CE`` with the effective number of its Proposition 1
    (https://arxiv.org/abs/1901.05555); weights are normalized to sum to C, as there and in the published code of LDAM
    (Cao et al. 2019), which compares with it: ``weights / sum(weights) * C``. That code hands them to torch's weighted
    cross-entropy, which divides a batch by the sum of its weights: ``divide_by="weights"``.

    Args:
        class_counts: Training images per class [C].
        beta: In [0, 1).
        divide_by: ``"batch"`` or ``"weights"``, see :func:`weighted_cross_entropy`.

    Raises:
        ValueError: Bad counts, beta outside [0, 1), or an unknown ``divide_by``.
    """

    class_weights: Tensor

    def __init__(self, class_counts: ClassCounts, beta: float = 0.9999, divide_by: str = "batch") -> None:
        super().__init__(class_counts)
        if divide_by not in DIVISORS:
            raise ValueError(f"unknown divide_by {divide_by!r}: choose one of {', '.join(DIVISORS)}.")
        self.divide_by = divide_by
        self.register_buffer("class_weights", effective_number_weights(class_counts, beta).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return weighted_cross_entropy(logits, targets, self.class_weights, self.divide_by, self.whole_batch)
