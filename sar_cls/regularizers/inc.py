"""Induced neural collapse (INC): class means that features gather round, and that follow them and keep apart from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from sar_cls.regularizers.base import Classifier, Regularizer, snapshot, sum_over_processes
from sar_cls.regularizers.targets import Targets
from sar_cls.whole_batch import total

# The derivative of the angle has poles where the cosine is 1 or -1; the value of the published code.
COSINE_BOUND = 0.99999


class INC(Regularizer):
    """The two feature terms of Liu et al. 2023, "Inducing Neural Collapse in Deep Long-tailed Learning" (AISTATS).

    * ``loss_within = within_weight * 1/C sum_c 1/n_c sum over samples of class c of ||f - m_c||^2``: compactness in which
      every class of the batch weighs the same, however many samples n_c it has there (classes without one add 0).
    * ``loss_between = -between_weight * mean over c of the angle to the nearest other class``: of the class means less
      their common mean, in radians.

    The class means m are drawn from a normal distribution. In training mode each step then moves them, by plain gradient
    descent of their own: ``m <- m - means_lr * d(loss_within + loss_between)/dm / within_weight``, with the means before the
    move in the losses. That, its learning rate and the weights are the published program's (an optimizer of its own for the
    means, whose gradients are divided by the weight of the first term); weights and learning rate are its defaults. The paper
    (https://arxiv.org/abs/2302.12453) itself could not be looked into for its equation numbers. With ``within_weight=0``
    features feel nothing, and means only gather.

    Soft targets Y, our reading: ``n_c`` is the sum of its label weights, and a sample's distance to m_c counts with its
    weight for c; ``sample_weights`` s make ``Y_ic`` to ``s_i Y_ic``, and a batch of which no sample counts moves no mean. In
    a distributed run the means move by the batches of all processes, so that all hold the same ones.

    Buffer: ``means`` [C, D], saved in checkpoints.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        within_weight: weight of ``loss_within``.
        between_weight: weight of ``loss_between``, which moves the means alone.
        means_lr: learning rate of the means; 0 leaves them where they were drawn.
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range.
    """

    means: Tensor

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        within_weight: float = 0.01,
        between_weight: float = 0.1,
        means_lr: float = 0.5,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.within_weight = self._weight("within_weight", within_weight)
        self.between_weight = self._weight("between_weight", between_weight)
        self.means_lr = self._weight("means_lr", means_lr)
        self.register_buffer("means", torch.randn(self.num_classes, self.feat_dim))

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        means = snapshot(self.means) if self.training else self.means
        angle, angle_by_means = mean_nearest_angle(means)
        label_weights = targets.label_weights()
        totals = targets.class_totals(features.detach(), label_weights)  # with whole_batch those of all processes
        if self.training:
            self._move_means(totals if targets.whole_batch else sum_over_processes(totals), angle_by_means)
        if targets.sample_weights is not None:
            label_weights = label_weights * targets.sample_weights.unsqueeze(1)
        sizes = totals[:, -1]
        # ||f - m||^2 by its three parts would lose the digits in which close points differ.
        distances = torch.cdist(features, means, compute_mode="donot_use_mm_for_euclid_dist").square()
        summed = (label_weights * distances).sum(dim=0)
        if targets.whole_batch:
            summed = total(summed)
        per_class = summed / sizes.where(sizes > 0, 1.0)
        return {
            "loss_within": self.within_weight * per_class.mean(),
            "loss_between": -self.between_weight * angle,
        }

    @torch.no_grad()
    def _move_means(self, totals: Tensor, angle_by_means: Tensor) -> None:
        sums, sizes = totals.split([self.feat_dim, 1], dim=1)
        centers = sums / sizes.where(sizes > 0, 1.0)
        gradient = (sizes > 0) * 2 * (self.means - centers) / self.num_classes
        if self.within_weight > 0:
            any_counts = sizes.sum() > 0  # else no mean moves
            gradient = gradient - any_counts * self.between_weight / self.within_weight * angle_by_means
        # A single NaN would stay in a mean for good; the loss of this step shows it all the same.
        self.means.sub_((self.means_lr * gradient).masked_fill(~gradient.isfinite(), 0))

    def extra_repr(self) -> str:
        weights = f"within_weight={self.within_weight}, between_weight={self.between_weight}"
        return f"{super().extra_repr()}, {weights}, means_lr={self.means_lr}"


@torch.no_grad()
def mean_nearest_angle(means: Tensor) -> tuple[Tensor, Tensor]:
    """The angle of each of the means [C, D], less their common mean, to the nearest other one: the mean over C in radians, and
    its gradient by the means [C, D], in closed form, since a step that is captured or compiled has no backward pass of its own.
    """
    centred = means - means.mean(dim=0)
    lengths = centred.norm(dim=1, keepdim=True).clamp_min(1e-12)
    directions = centred / lengths
    cosines = directions @ directions.T
    classes = torch.arange(len(means), device=means.device)
    cosine, neighbour = cosines.masked_fill(classes == classes.unsqueeze(1), -2.0).max(dim=1)
    bounded = cosine.clamp(-COSINE_BOUND, COSINE_BOUND)
    slope = torch.where(cosine == bounded, -(1 - bounded.square()).rsqrt() / len(means), 0.0)
    pairs = (classes == neighbour.unsqueeze(1)) * slope.unsqueeze(1)
    by_direction = (pairs + pairs.T) @ directions
    along = (by_direction * directions).sum(dim=1, keepdim=True)
    by_centred = (by_direction - along * directions) / lengths
    return bounded.acos().mean(), by_centred - by_centred.mean(dim=0)
