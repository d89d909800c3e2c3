"""Losses of pixels under the call that mmseg's heads make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.losses.cross_entropy_loss import CrossEntropyLoss, cross_entropy
from mmseg.registry import MODELS
from torch import Tensor, nn

from sar_cls.data.masked_set import VOID
from sar_cls.losses import generalized_weights
from sar_cls.losses.base import full_precision
from sar_cls.whole_batch import num_processes, total, use_whole_batch


def even_part(own: Tensor) -> Tensor:
    """What a process divides a sum over its own pixels by, so that the mean over processes is the mean over the whole batch.

    Args:
        own: number of pixels, or sum of their weights, in this process's part; 0-dimensional.

    Returns:
        That of all processes over their number, or 1 where it is 0: then all sums are.
    """
    whole = total(own)
    return torch.where(whole > 0, whole / num_processes(), torch.ones_like(whole))


def count_on_the_device(model: nn.Module) -> list[str]:
    """Gives mmseg's cross-entropies what they divide by as a tensor; returns their names. Once more changes nothing.

    A mean over the pixels with a class (``avg_non_ignore=True``), or over their class weights, is by mmseg's own count a wait for
    the device at every step. The numbers are mmseg's. Of several processes each counts its own part, until
    :func:`use_whole_batch_of_pixels` says otherwise.
    """
    found = [(name, module) for name, module in model.named_modules() if _is_quotient(module)]
    for _, module in found:
        if not hasattr(module, "whole_batch"):
            module.whole_batch = False
            module.register_forward_pre_hook(_with_divisor, with_kwargs=True)
    return [name for name, _ in found]


def use_whole_batch_of_pixels(model: nn.Module) -> list[str]:
    """:func:`sar_cls.whole_batch.use_whole_batch` for a segmentation net: mmseg's cross-entropy as well; returns the names.

    A mean over all pixels of equal crops, those without a class included, is a mean over images, and needs nothing. One over the
    pixels with a class (``avg_non_ignore=True``), or over their class weights, gets the number of the whole batch.
    """
    count_on_the_device(model)
    return use_whole_batch(model)


def _is_quotient(module: nn.Module) -> bool:
    if (
        not isinstance(module, CrossEntropyLoss)
        or module.reduction != "mean"
        or module.cls_criterion is not cross_entropy
    ):
        return False
    return bool(module.avg_non_ignore) or module.class_weight is not None


def _with_divisor(
    loss: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments of mmseg's cross-entropy, with what it divides its sum by; None, as they are, where it does not divide.

    The divisor is float32 at least, also of bfloat16 scores: their three digits are too few for a count.
    """
    if kwargs.get("reduction_override") not in (None, "mean"):
        return None
    scores, labels = args[:2]
    counts = labels != kwargs.get("ignore_index", -100)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    if loss.class_weight is None:
        own = counts.sum().to(dtype)
    else:
        weights = scores.new_tensor(loss.class_weight).to(dtype)  # rounded as those that mmseg multiplies by
        own = (weights[torch.where(counts, labels, 0)] * counts).sum()
    return args, {**kwargs, "avg_factor": even_part(own) if loss.whole_batch else own}


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
    whole_batch: bool = False

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
        counted = (labels != ignore_index).sum()
        number = even_part(counted.to(scores.dtype)) if self.whole_batch else counted.clamp(min=1)
        return self.loss_weight * nll.sum() / number
