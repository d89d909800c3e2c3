"""ARB-loss: attraction to the own class and repulsion from the others brought into balance by class sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, checked_counts, expected_cost, full_precision


def arb_loss(logits: Tensor, targets: Tensor, sizes: Tensor) -> Tensor:
    """``-log( e^{z_y} / sum_c (n_c / n_y) e^{z_c} )``, averaged over the batch.

    Args:
        logits: z [N, C].
        targets: [N] int64, or soft targets [N, C].
        sizes: n [C], at least 0; a class of size 0 repels nothing, and no sample may belong to it.
    """
    logits = full_precision(logits)
    log_sizes = sizes.to(logits).log()
    # Minus infinity has no gradient through logsumexp where it is alone; the lowest number does the same and has one.
    log_sizes = log_sizes.clamp_min(torch.finfo(logits.dtype).min / 4)
    total = torch.logsumexp(logits + log_sizes, dim=1, keepdim=True)
    return expected_cost((total - log_sizes - logits).where(sizes > 0, 0.0), targets)


class ARBLoss(ClassCountLoss):
    """Attraction-repulsion-balanced loss: ``-log( e^{z_y} / sum_c (n_c / n_y) e^{z_c} )``.

    Xie et al., "Neural Collapse Inspired Attraction-Repulsion-Balanced Loss for Imbalanced Learning", Neurocomputing 2023
    (https://arxiv.org/abs/2204.08735). n are class sizes, of the batch or of the training set; the published program
    has both. **With the sizes of the training set it is the same function as** :class:`sar_cls.losses.BalancedSoftmax`
    (multiply numerator and denominator by n_y), so that only the sizes of the batch, the default here, make it a method
    of its own. Its rows have the recipe of all others here; that of the published program leaves the second fall of the
    learning rate out. Soft targets: the size of a class is its sum of target weights. The published code clips logits to
    [-30, 30] against overflow; here a log-sum-exp needs no clipping.

    Args:
        class_counts: Training images per class [C].
        sizes: ``"batch"`` or ``"train"``.

    Raises:
        ValueError: Bad counts, or an unknown ``sizes``.
    """

    counts: Tensor

    def __init__(self, class_counts: ClassCounts, sizes: str = "batch") -> None:
        super().__init__(class_counts)
        if sizes not in ("batch", "train"):
            raise ValueError(f"sizes must be 'batch' or 'train', not {sizes!r}.")
        self.sizes = sizes
        self.register_buffer("counts", checked_counts(class_counts).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.check_logits(logits, targets)
        return arb_loss(logits, targets, self.counts if self.sizes == "train" else self.batch_sizes(targets))
