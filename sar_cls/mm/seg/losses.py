"""Losses of pixels under the call that mmseg's heads make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from sar_cls.data.masked_set import VOID
from sar_cls.losses import generalized_weights
from sar_cls.losses.base import full_precision


@MODELS.register_module(name="GeneralizedReweighting")
class PixelReweighting(nn.Module):
    """:class:`sar_cls.losses.GeneralizedReweighting` for pixels: ``sum of w_y nll_y / number of pixels with a class``.

    The published code of DisAlign for segmentation has an exponent of 0.2 on ADE20K, and divides by the number of all pixels,
    those without a class included, whose loss is 0; here they do not count (our reading, as ``avg_non_ignore=True`` of mmseg).

    Args:
        class_counts: training pixels per class [C]; a class without any gets weight 0.
        rho: exponent of the inverse frequency.
        loss_weight: factor of the loss.

    Raises:
        ValueError: as :func:`sar_cls.losses.generalized_weights`.
    """

    class_weights: Tensor
    loss_name = "loss_ce"

    def __init__(self, class_counts: Sequence[int], rho: float = 0.2, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.register_buffer("class_weights", generalized_weights(class_counts, rho).float(), persistent=False)

    def forward(
        self, scores: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = VOID, **_: Any
    ) -> Tensor:
        """Scores [N, C, H, W], labels int64 [N, H, W] and, from a sampler of pixels, their weights [N, H, W] -> scalar."""
        scores = full_precision(scores)
        nll = F.cross_entropy(
            scores, labels, weight=self.class_weights.to(scores), ignore_index=ignore_index, reduction="none"
        )
        if weight is not None:
            nll = nll * weight
        return self.loss_weight * nll.sum() / (labels != ignore_index).sum().clamp(min=1)
