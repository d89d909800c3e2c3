"""Batch norm over parts of a batch, as if each part were on a device of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.replaced_norms import replace_batch_norms
from sar_cls.models.running_statistics import move_running_statistics


def virtual_batches(batch: int, virtual_batch: int) -> list[int]:
    """Sizes of the virtual batches that ``batch`` images are cut into, in their order.

    The last one holds what is left over. A single image left over joins the virtual batch before it: alone it would be
    normalised to its own bias where the net has pooled it to one pixel, which batch norm itself refuses.

    >>> virtual_batches(128, 16), virtual_batches(95, 16), virtual_batches(33, 16), virtual_batches(9, 16)
    ([16, 16, 16, 16, 16, 16, 16, 16], [16, 16, 16, 16, 16, 15], [16, 17], [9])
    """
    full, rest = divmod(batch, virtual_batch)
    if rest == 1 and full:
        return [virtual_batch] * (full - 1) + [virtual_batch + 1]
    return [virtual_batch] * full + ([rest] if rest else [])


class VirtualBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` that normalises each ``virtual_batch`` images of a batch, in their order, by their own statistics.

    "8xb16" in the name of a published recipe means 8 devices with 16 images each: one step of the optimizer over 128
    images, batch norm over 16. On one device the batch is 128; with virtual batches of 16 the normalisation is what it is
    on the eight. (Ghost batch normalization: Hoffer et al., "Train longer, generalize better", NeurIPS 2017, Alg. 1,
    https://arxiv.org/abs/1705.08741; there the running statistics move once for each virtual batch.)

    In training mode the running statistics move once a step, to the mean of the statistics of the virtual batches,
    each with the same weight: that is the mean over the devices' running statistics. An incomplete virtual batch counts
    as one, see :func:`virtual_batches`. In evaluation it is ``BatchNorm2d``.

    The loop is over the shape alone, so it can be compiled and captured. Input [N, C, H, W], output the same, in the same
    memory format.

    Args:
        num_features: C.
        virtual_batch: images of a virtual batch, at least 2.
        **kwargs: as for ``BatchNorm2d``.

    Raises:
        ValueError: ``virtual_batch`` is below 2.
    """

    def __init__(self, num_features: int, virtual_batch: int, **kwargs: object) -> None:
        super().__init__(num_features, **kwargs)  # type: ignore[arg-type]
        if virtual_batch < 2:
            raise ValueError(f"virtual_batch must be at least 2, not {virtual_batch}.")
        self.virtual_batch = virtual_batch

    def forward(self, input: Tensor) -> Tensor:
        sizes = virtual_batches(len(input), self.virtual_batch)
        if not self.training or len(sizes) < 2:
            return super().forward(input)
        self._check_input_dim(input)
        parts = input.split(sizes)
        if self.running_mean is None or self.running_var is None:
            return torch.cat([self._normalize(part, None, None) for part in parts])
        # With momentum 1 batch norm writes the statistics themselves where the running ones would be: a row for each part.
        means = torch.zeros(len(sizes), self.num_features, dtype=self.running_mean.dtype, device=input.device)
        variances = torch.zeros_like(means)
        output = torch.cat([self._normalize(*each) for each in zip(parts, means, variances, strict=True)])
        move_running_statistics(self, means.mean(dim=0), variances.mean(dim=0))
        return output

    def _normalize(self, part: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        return F.batch_norm(part, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, virtual_batch={self.virtual_batch}"


class _VirtualBatchNormAct2d(VirtualBatchNorm2d):
    """The same for timm's ``BatchNormAct2d``, which has dropout and activation in it."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


def use_virtual_batches(backbone: nn.Module, virtual_batch: int) -> int:
    """Replaces every ``BatchNorm2d`` in a built backbone by :class:`VirtualBatchNorm2d` with the same tensors.

    Args:
        backbone: changed in place. The names in its state dict stay as they are.
        virtual_batch: images of a virtual batch, at least 2.

    Returns:
        How many there were.

    Raises:
        InputError: there is none, or a batch norm of another kind.
    """
    kinds: dict[str, type[VirtualBatchNorm2d]] = {
        "BatchNorm2d": VirtualBatchNorm2d,
        "BatchNormAct2d": _VirtualBatchNormAct2d,
    }

    def build(norm: nn.BatchNorm2d, name: str) -> nn.Module:
        if type(norm).__name__ not in kinds:
            raise InputError(
                f"{name} is a {type(norm).__name__}: only BatchNorm2d can take virtual batches, leave bn_batch out"
            )
        kind = kinds[type(norm).__name__]
        return kind(norm.num_features, virtual_batch, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)

    number = replace_batch_norms(backbone, build)
    if not number:
        raise InputError(
            f"{type(backbone).__name__} has no BatchNorm2d, so there are no virtual batches: leave bn_batch out"
        )
    return number
