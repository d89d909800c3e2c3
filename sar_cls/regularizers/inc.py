"""Induced neural collapse (INC): learnable class means that features gather round and that keep apart from each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.regularizers.base import Classifier, Regularizer
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

    The class means m are parameters, drawn from a normal distribution and trained with the model, as in published code; the
    paper (https://arxiv.org/abs/2302.12453) could not be looked into for its equation numbers and weights, so that the
    default weights are our choice. Soft targets Y: ``n_c`` is the sum of its label weights, and a sample's distance to m_c
    counts with its weight for c; ``sample_weights`` s make ``Y_ic`` to ``s_i Y_ic``.

    Parameter: ``means`` [C, D], saved in checkpoints.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        within_weight: weight of ``loss_within``.
        between_weight: weight of ``loss_between``.
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        within_weight: float = 0.01,
        between_weight: float = 0.1,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.within_weight = self._weight("within_weight", within_weight)
        self.between_weight = self._weight("between_weight", between_weight)
        self.means = nn.Parameter(torch.randn(self.num_classes, self.feat_dim))

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        label_weights = targets.label_weights()
        if targets.sample_weights is not None:
            label_weights = label_weights * targets.sample_weights.unsqueeze(1)
        sizes = label_weights.sum(dim=0)
        # ||f - m||^2 by its three parts would lose the digits in which close points differ.
        distances = torch.cdist(features, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()
        summed = (label_weights * distances).sum(dim=0)
        if targets.whole_batch:
            summed, sizes = total(torch.stack([summed, sizes]))
        per_class = summed / sizes.where(sizes > 0, 1.0)
        return {
            "loss_within": self.within_weight * per_class.mean(),
            "loss_between": -self.between_weight * self._nearest_angles().mean(),
        }

    def _nearest_angles(self) -> Tensor:
        """The angle of each centred class mean to the nearest other one; [C] in radians."""
        directions = F.normalize(self.means - self.means.mean(dim=0), dim=1)
        cosines = directions @ directions.T
        itself = torch.eye(self.num_classes, dtype=torch.bool, device=cosines.device)
        nearest = cosines.masked_fill(itself, -2.0).max(dim=1).values
        return torch.acos(nearest.clamp(-COSINE_BOUND, COSINE_BOUND))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, within_weight={self.within_weight}, between_weight={self.between_weight}"
