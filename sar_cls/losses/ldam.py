"""LDAM: larger margins for rarer classes, with deferred re-weighting."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, checked_counts, full_precision
from sar_cls.losses.class_balanced import effective_number_weights
from sar_cls.whole_batch import total


def ldam_margins(class_counts: ClassCounts, max_margin: float = 0.5) -> Tensor:
    """Margins ``Delta_c = K / N_c^{1/4}`` with K such that the rarest class has ``max_margin``; float64 [C].

    Raises:
        ValueError: Bad counts, or a margin that is not positive.
    """
    counts = checked_counts(class_counts)
    if not max_margin > 0:
        raise ValueError(f"max_margin must be positive, not {max_margin}.")
    return max_margin * (counts.min() / counts) ** 0.25


def ldam_loss(
    logits: Tensor,
    labels: Tensor,
    margins: Tensor,
    class_weights: Tensor,
    scale: float = 30.0,
    whole_batch: bool = False,
) -> Tensor:
    """Cross-entropy of ``scale * (z - Delta_y at the right class)``: the mean over the batch weighted by ``w_y``.

    Args:
        logits: Cosines [N, C].
        labels: [N] int64.
        margins: Delta [C].
        class_weights: w [C].
        scale: s.
        whole_batch: whether the mean is over the batches of all processes.

    Raises:
        ValueError: Soft targets: the margin belongs to one right class.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(
            f"LDAM's margin belongs to one right class: pass integer labels [N] (no mixup), "
            f"not {labels.dtype} {list(labels.shape)}."
        )
    logits = full_precision(logits)
    labels = labels.long()
    margin = torch.zeros_like(logits).scatter(1, labels[:, None], margins.to(logits)[labels][:, None])
    weights = class_weights.to(logits)
    if not whole_batch:
        return F.cross_entropy(scale * (logits - margin), labels, weight=weights)
    summed = F.cross_entropy(scale * (logits - margin), labels, weight=weights, reduction="sum")
    summed, divisor = total(torch.stack([summed, weights[labels].sum()]))
    return summed / divisor


class LDAM(ClassCountLoss):
    """Label-distribution-aware margins with deferred re-weighting (LDAM-DRW).

    Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019, Eq. 12-13 and
    Algorithm 1 (https://arxiv.org/abs/1906.07413). Logits are cosines: use the classifier
    ``sar_cls.models.CosineLinear``. Its program trains 200 epochs at 0.1 with 5 of warm-up, a hundredth of that after
    epoch 160, where the re-weighting begins, and a ten-thousandth after 180. The re-weighting is that of Cui et al.
    2019, and as in the published code a batch is divided by its sum of weights. Needs ``set_epoch`` at the start of
    each epoch; without a call the classes stay weighted alike (plain LDAM). Hard labels only.

    Args:
        class_counts: Training images per class [C].
        max_margin: Margin of the rarest class, on the cosine.
        scale: Factor on the cosines.
        beta: Of the re-weighting, see ``effective_number_weights``.
        drw_start: Share of the epochs after which classes are re-weighted: 0.8 is epoch 160 of 200; 1 is never.
        scaled_logits: ``True`` where the classifier already multiplies by ``scale``.

    Raises:
        ValueError: Bad counts or a value out of range; in ``forward``, soft targets.
    """

    margins: Tensor
    drw_weights: Tensor
    class_weights: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        drw_start: float = 0.8,
        scaled_logits: bool = False,
    ) -> None:
        super().__init__(class_counts)
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}.")
        if not 0 <= drw_start <= 1:
            raise ValueError(f"drw_start is a share of the epochs in [0, 1], not {drw_start}.")
        self.scale = scale
        self.drw_start = drw_start
        self.scaled_logits = scaled_logits
        self.register_buffer("margins", ldam_margins(class_counts, max_margin).float(), persistent=False)
        self.register_buffer("drw_weights", effective_number_weights(class_counts, beta).float(), persistent=False)
        self.register_buffer("class_weights", torch.ones_like(self.drw_weights), persistent=False)

    def set_epoch(self, epoch: int, total_epochs: int) -> None:
        """Re-weights the classes from epoch ``round(drw_start * total_epochs)`` on (epochs count from 0)."""
        deferred = epoch < round(self.drw_start * total_epochs)
        # In place: a captured step keeps reading the same memory.
        self.class_weights.copy_(torch.ones_like(self.drw_weights) if deferred else self.drw_weights)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        margins, scale = (self.scale * self.margins, 1.0) if self.scaled_logits else (self.margins, self.scale)
        return ldam_loss(logits, targets, margins, self.class_weights, scale, self.whole_batch)
