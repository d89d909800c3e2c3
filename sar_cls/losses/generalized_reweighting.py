"""Generalized re-weighting: cross-entropy weighted by a power of the inverse class frequency."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts
from sar_cls.losses.class_balanced import DIVISORS, weighted_cross_entropy


def generalized_weights(class_counts: ClassCounts, rho: float) -> Tensor:
    """Class weights ``C (1 / r_c)^rho / sum_k (1 / r_k)^rho`` with the frequencies ``r``; float64 [C].

    ``rho = 0`` weights all classes alike, ``rho = 1`` by inverse frequency. A class that never occurs is in no target and gets
    weight 0, and C is the number of those that occur (our reading: the formula has no value there).

    Args:
        class_counts: Training images, or pixels, per class [C], at least 0.
        rho: At least 0.

    Raises:
        ValueError: Counts of another shape or negative, fewer than two classes that occur, or a negative ``rho``.
    """
    counts = torch.as_tensor(class_counts).detach().to("cpu", torch.float64)
    if counts.ndim != 1 or not bool((counts >= 0).all()) or int((counts > 0).sum()) < 2:
        raise ValueError(
            f"class_counts must be one number of at least 0 for each class, above 0 for two, not {counts.tolist()}."
        )
    if not rho >= 0:
        raise ValueError(f"rho must be at least 0, not {rho}.")
    occurs = counts > 0
    weights = torch.where(occurs, (counts.sum() / counts.clamp(min=1)) ** rho, counts)
    return weights * occurs.sum() / weights.sum()


class GeneralizedReweighting(ClassCountLoss):
    """Cross-entropy weighted by a power of the inverse frequency of the right class.

    Zhang et al., "Distribution Alignment: A Unified Framework for Long-tail Visual Recognition" (DisAlign), CVPR 2021,
    Sec. 4.2 (https://arxiv.org/abs/2103.16370): the second stage brings the scores closer, by KL divergence, to a reference
    distribution that puts ``w_c = (1 / r_c)^rho / sum_k (1 / r_k)^rho`` on the right class, which is weighted cross-entropy.
    The published code multiplies the weights by C, so that their mean is 1; so does this.

    Args:
        class_counts: Training images per class [C].
        rho: At least 0. The published code has 1.2 for ImageNet-LT and 0.2 for the pixels of ADE20K.
        divide_by: ``"batch"``: the number of samples, as the published code for segmentation divides by that of pixels;
            ``"weights"``: the sum of their weights, as that for classification does. A batch of CIFAR-100-LT at imbalance 100
            has a mean weight of 0.16 under ``rho = 1.2``, so that this is the difference of a six times larger step.

    Raises:
        ValueError: Bad counts, a negative ``rho`` or an unknown ``divide_by``.
    """

    class_weights: Tensor

    def __init__(self, class_counts: ClassCounts, rho: float = 1.2, divide_by: str = "batch") -> None:
        super().__init__(class_counts)
        if divide_by not in DIVISORS:
            raise ValueError(f"unknown divide_by {divide_by!r}: choose one of {', '.join(DIVISORS)}.")
        self.divide_by = divide_by
        self.register_buffer("class_weights", generalized_weights(class_counts, rho).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return weighted_cross_entropy(logits, targets, self.class_weights, self.divide_by, self.whole_batch)
