"""Label-aware smoothing: the more training images a class has, the more its labels are smoothed."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, checked_counts, expected_cost, negative_log_likelihood

Shape = Literal["concave", "linear", "convex", "exponential"]


def smoothing_factors(
    class_counts: ClassCounts,
    smooth_head: float = 0.4,
    smooth_tail: float = 0.1,
    shape: Shape = "concave",
    power: float = 2.0,
) -> Tensor:
    """The smoothing eps_c of each class, float64 [C].

    With ``t = (N_c - N_min) / (N_max - N_min)`` and ``d = smooth_head - smooth_tail``, MiSLAS's related functions are

    - concave: ``smooth_tail + d sin(pi t / 2)``
    - linear: ``smooth_tail + d t``
    - convex: ``smooth_head + d sin(3 pi / 2 + pi t / 2)``
    - exponential: ``smooth_tail + d t^power``

    With equal counts every class is the most frequent one: t = 1.

    Raises:
        ValueError: Bad counts, a smoothing outside [0, 1], ``smooth_head < smooth_tail``, an unknown shape, or a power
            that is not positive.
    """
    counts = checked_counts(class_counts)
    if not 0 <= smooth_tail <= smooth_head <= 1:
        raise ValueError(f"Smoothing needs 0 <= tail <= head <= 1, not tail {smooth_tail} and head {smooth_head}.")
    if shape not in get_args(Shape):
        raise ValueError(f"Unknown shape {shape!r}; choose one of {', '.join(get_args(Shape))}.")
    if not power > 0:
        raise ValueError(f"power must be positive, not {power}.")
    low, high = counts.min(), counts.max()
    t = (counts - low) / (high - low) if high > low else torch.ones_like(counts)
    difference = smooth_head - smooth_tail
    if shape == "concave":
        return smooth_tail + difference * torch.sin(math.pi / 2 * t)
    if shape == "linear":
        return smooth_tail + difference * t
    if shape == "convex":
        return smooth_head + difference * torch.sin(3 * math.pi / 2 + math.pi / 2 * t)
    return smooth_tail + difference * t**power


def label_aware_smoothing(logits: Tensor, targets: Tensor, smoothing: Tensor) -> Tensor:
    """Mean over the batch of ``(1 - eps_y) nll_y + eps_y mean_c nll_c``.

    Args:
        logits: [N, C].
        targets: [N] int64, or soft [N, C]: then the targets' weighted mean of this loss.
        smoothing: eps [C].
    """
    nll = negative_log_likelihood(logits)
    eps = smoothing.to(nll)
    return expected_cost((1 - eps) * nll + eps * nll.mean(dim=1, keepdim=True), targets)


class LabelAwareSmoothing(ClassCountLoss):
    """Label-aware smoothing of MiSLAS.

    Zhong et al., "Improving Calibration for Long-Tailed Recognition", CVPR 2021, Sec. 3.2
    (https://arxiv.org/abs/2104.00466). The loss is that of its published code, which spreads eps over all C classes, the
    right one included: ``(1 - eps_y) nll_y + eps_y mean_c nll_c``. The paper's text spreads it over the C - 1 others.

    Args:
        class_counts: Training images per class [C].
        smooth_head: eps of the most frequent class; 0.4 for CIFAR-100-LT at imbalance 100.
        smooth_tail: eps of the rarest class.
        shape: How eps grows between the two, see ``smoothing_factors``.
        power: Exponent of the exponential shape.

    Example:
        >>> loss = LabelAwareSmoothing([500, 50, 5])(torch.randn(8, 3), torch.randint(3, (8,)))
    """

    smoothing: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        smooth_head: float = 0.4,
        smooth_tail: float = 0.1,
        shape: Shape = "concave",
        power: float = 2.0,
    ) -> None:
        super().__init__(class_counts)
        smoothing = smoothing_factors(class_counts, smooth_head, smooth_tail, shape, power)
        self.register_buffer("smoothing", smoothing.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return label_aware_smoothing(logits, targets, self.smoothing)
