"""Supervised contrastive loss (SupCon): samples of a class gather, and keep apart from all others, whatever their class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.regularizers.base import Classifier, Regularizer
from sar_cls.regularizers.targets import Targets
from sar_cls.whole_batch import all_rows


class SupCon(Regularizer):
    """Supervised contrastive loss beside the classification loss.

    Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (https://arxiv.org/abs/2004.11362), L_out of Eq. 2 as a mean
    over the batch: with z the projected features of length 1 and P(i) the other samples of the class of i,

    ``loss_supcon = contrast_weight * 1/N sum_i 1/|P(i)| sum over p in P(i) of
    -log( exp(z_i . z_p / temperature) / sum over a != i of exp(z_i . z_a / temperature) )``

    The batch is the paper's where it holds two views of each image (``data_preprocessor = dict(views=2)``): the other view is
    of the same class. A sample that is alone with its class, which takes one view, adds 0 and counts in the mean, as in
    published code. The paper trains the backbone by this loss alone and the classifier afterwards, with stronger augmentation
    and larger batches; here both losses are trained together, and augmentation is the recipe's. The default
    ``contrast_weight`` is ours (the published program multiplies the loss by ``temperature / 0.07``, 1.43 at 0.1).

    Soft targets Y and sample weights s are our reading: a pair counts by ``Y_i . Y_p``, the probability that labels drawn from
    the two rows agree, and ``|P(i)|`` is the sum of that, at least 1, so that a sample which hardly agrees with any other adds
    hardly anything. s, scaled to mean 1 over samples that count, multiplies the samples in all three sums.

    Cost: two views are what costs. A step of ResNet-32 with batches of 128 took 1.85 times as long in two views as in one on one
    CPU core and 2.03 times with this loss, its tensors 1.99 times the memory both times (``benchmarks/run.py --suite cost``).

    With ``whole_batch`` a sample is paired with those of all processes, else with those of its own. Memory grows with the product
    of the two numbers of samples, N^2 in one process, which is much for the pixels of feature maps.

    Module: ``projection``, Linear(D, D), ReLU, Linear(D, K) as in the paper, in no use at inference.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        contrast_weight: weight of ``loss_supcon``.
        temperature: above 0; the paper's is 0.1.
        projection: length K of the projected features, the paper's 128; None takes the features themselves.
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        contrast_weight: float = 1.0,
        temperature: float = 0.1,
        projection: int | None = 128,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.contrast_weight = self._weight("contrast_weight", contrast_weight)
        self.temperature = self._above_0("temperature", temperature)
        self.projection: nn.Module = nn.Identity()
        if projection is not None:
            width = self._whole_number("projection", projection, 1)
            self.projection = nn.Sequential(
                nn.Linear(self.feat_dim, self.feat_dim), nn.ReLU(), nn.Linear(self.feat_dim, width)
            )

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        directions, label_weights = F.normalize(self.projection(features), dim=1), targets.label_weights()
        weights = targets.sample_weights
        # Partners are the samples of all processes; with one matrix of all that is needed of them there is one exchange.
        parts = [directions, label_weights] + ([] if weights is None else [weights.unsqueeze(1)])
        rows, first = all_rows(torch.cat(parts, dim=1)) if targets.whole_batch else (torch.cat(parts, dim=1), 0)
        partners, their_labels, *their_weights = rows.split([part.shape[1] for part in parts], dim=1)

        similarities = directions @ partners.T / self.temperature
        place = torch.arange(len(features), device=features.device).unsqueeze(1) + first
        itself = place == torch.arange(len(partners), device=features.device)
        lowest = torch.finfo(similarities.dtype).min / 4  # finite, so that a weight of 0 takes it out
        others = similarities.masked_fill(itself, lowest)
        pairs = (label_weights @ their_labels.T).masked_fill(itself, 0)
        for column in their_weights:
            share = _of_mean_1(column.squeeze(1))
            others = others + share.log().clamp_min(lowest)
            pairs = pairs * share
        total = torch.logsumexp(others, dim=1, keepdim=True)
        per_sample = (pairs * (total - similarities)).sum(dim=1) / pairs.sum(dim=1).clamp_min(1)
        return {"loss_supcon": self.contrast_weight * targets.mean(per_sample)}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, contrast_weight={self.contrast_weight}, temperature={self.temperature}"


def _of_mean_1(weights: Tensor) -> Tensor:
    """Weights [N], scaled so that those above 0 have mean 1; all 0 where there is none."""
    total = weights.sum()
    return weights * ((weights > 0).sum() / total.where(total > 0, 1.0))
