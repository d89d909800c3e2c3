"""Center loss: features are pulled to running class centres that follow the features."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.regularizers.base import Classifier, Regularizer, snapshot, sum_over_processes
from sar_cls.regularizers.targets import Targets


class CenterLoss(Regularizer):
    """Center loss (Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition").

    ``loss_center = weight * 1/2 * mean over samples of ||x_i - c_{y_i}||^2``: Eq. 2, averaged over the batch instead of
    summed, so that the weight does not depend on the batch size. Then, in training mode, the centres move by Eq. 4,
    ``c_j <- c_j - center_lr * sum_i [y_i = j] (c_j - x_i) / (1 + n_j)``; the loss of a step uses the centres before
    its move.

    Soft targets Y: the point that a sample is pulled to is the label-weighted mean of the centres, ``Y c`` (same
    gradient as the label-weighted sum of the losses to the single centres), and in Eq. 4 ``[y_i = j]`` becomes
    ``Y_ij`` and ``n_j`` its sum. ``sample_weights`` s make the mean of Eq. 2 ``sum_i s_i d_i / sum_i s_i``, 0 where all are
    0, and in Eq. 4 ``Y_ij`` becomes ``s_i Y_ij``: a centre that no sample counts for stays. On feature maps the samples are
    the pixels that have a class.

    This is the paper's; the authors' program was not compared. A network file for it, as others hand it on, has the centres as
    parameters of the optimizer with weight decay, from random draws, under a weight of 0.008.

    In a distributed run the sums of Eq. 4 are taken over the batches of all processes, so that all hold the same
    centres.

    Buffer: ``centers`` [C, D], zero at the start, saved in checkpoints.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        weight: weight of the loss (the paper's lambda; 0.003 in its experiments).
        center_lr: how far a centre moves (the paper's alpha; 0.5 in its experiments), from 0 to 1.
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range.
    """

    centers: Tensor

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        weight: float = 0.003,
        center_lr: float = 0.5,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.weight = self._weight("weight", weight)
        self.center_lr = self._weight("center_lr", center_lr)
        if self.center_lr > 1:
            raise ValueError(f"CenterLoss: center_lr is {center_lr!r}: give a number from 0 to 1, the paper uses 0.5")
        self.register_buffer("centers", torch.zeros(self.num_classes, self.feat_dim))

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        centers = snapshot(self.centers) if self.training else self.centers
        distance = (features - targets.pick(centers)).square().sum(dim=1)
        if self.training:
            self._move_centers(features.detach(), targets)
        return {"loss_center": self.weight * 0.5 * targets.mean(distance)}

    @torch.no_grad()
    def _move_centers(self, features: Tensor, targets: Targets) -> None:
        totals = targets.class_totals(features)
        if not targets.whole_batch:  # else they are already those of all processes
            totals = sum_over_processes(totals)
        sums, counts = totals.split([self.feat_dim, 1], dim=1)
        moved = self.center_lr * (counts * self.centers - sums) / (1 + counts)
        # A single NaN would stay in the centre for good; the loss of this step shows it all the same.
        self.centers.sub_(moved.masked_fill(~moved.isfinite(), 0))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, weight={self.weight}, center_lr={self.center_lr}"
