"""Dot regression: the cosine of a feature to its class's fixed direction is brought to 1, and nothing is pushed away."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, expected_cost, full_precision


def dot_regression(
    cosines: Tensor, targets: Tensor, weight: float = 1.0, class_weights: Tensor | None = None
) -> Tensor:
    """``weight * 1/2 * w_y (cos_y - 1)^2``, averaged over the batch.

    Args:
        cosines: [N, C] of the features to the class directions.
        targets: [N] int64, or soft targets [N, C].
        weight: factor on the loss.
        class_weights: w [C]; 1 by default.
    """
    cost = (full_precision(cosines) - 1).square()
    return weight * 0.5 * expected_cost(cost if class_weights is None else class_weights.to(cost) * cost, targets)


class DotRegression(ClassCountLoss):
    """The dot-regression loss of a fixed classifier: ``1/2 (w_y . h / |h| - 1)^2``.

    Yang et al., "Inducing Neural Collapse in Imbalanced Learning: Do We Really Need a Learnable Classifier at the End of
    Deep Neural Network?", NeurIPS 2022, Eq. 9 with features and class vectors of length one
    (https://arxiv.org/abs/2203.09081). Its gradient attracts a feature to its own class vector and repels it from none,
    so that rare classes are not pushed about by frequent ones. For a fixed classifier
    (``classifier=dict(type="fixed", anchors="simplex")``): a learnable one would shrink the loss by moving its own vectors.

    ``balanced=True`` is what the published program trains with (its ``GivenEw``): in each batch the vector of class c has the
    length ``sqrt(w_c)``, ``w_c = (N / K) / n_c`` with N samples of K classes, n_c of them of class c; a loss
    ``1/2 (sqrt(w_y) cos_y - sqrt(w_y))^2`` in which every class of the batch weighs the same. Of mixed labels n_c is the sum of
    the weights, which for the mixtures of one batch with itself is the same number. There the features go through a batch
    norm first (``feature_layer="batch_norm"`` of the head).

    ``weight=2`` is the loss of hyperspherical prototype networks (Mettes, van der Pol and Snoek, NeurIPS 2019, Eq. 2,
    https://arxiv.org/abs/1901.10514), ``(1 - cos)^2``, averaged over the batch; their program sums it over 128 images, at a
    learning rate of 0.01, which at 0.1 is ``weight=25.6``. Their prototypes are the anchors ``"separated"``, in a space
    that a linear layer leads to (``feature_layer="linear"``).

    Args:
        class_counts: Training images per class [C]; only their number is used.
        weight: Factor on the loss.
        scale: What the classifier multiplies its cosines by.
        balanced: Whether all classes of a batch weigh the same.

    Raises:
        ValueError: a weight or scale that is not positive; in ``forward``, logits of another number of classes.
    """

    def __init__(
        self, class_counts: ClassCounts, weight: float = 1.0, scale: float = 1.0, balanced: bool = False
    ) -> None:
        super().__init__(class_counts)
        for name, value in (("weight", weight), ("scale", scale)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, not {value}.")
        self.weight = weight
        self.scale = scale
        self.balanced = balanced

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of ``scale * cosine`` [N, C]."""
        self.check_logits(logits, targets)
        class_weights = None
        if self.balanced:
            sizes = self.batch_sizes(targets)
            present = sizes > 0
            class_weights = torch.where(present, sizes.sum() / present.sum() / sizes.where(present, 1.0), 0.0)
        return dot_regression(full_precision(logits) / self.scale, targets, self.weight, class_weights)
