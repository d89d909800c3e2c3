"""Batch norm over the whole batch where several processes have a part of it each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sar_cls.errors import InputError
from sar_cls.models.replaced_norms import replace_batch_norms
from sar_cls.models.running_statistics import move_running_statistics
from sar_cls.regularizers.classifier_call import HALF
from sar_cls.whole_batch import num_processes, total


class _Normalize(torch.autograd.Function):
    """Batch norm in training over the samples of all processes: the output, with mean and variance [C] beside it and their number.

    With ``x^ = (x - m) / s`` and g the gradient of the output that of the input is, as in one process,
    ``w / s (g - mean(g) - x^ mean(g x^))``, the means over all processes; weight and bias get their part from this process's
    samples. Sums are in float64: a batch of images has 10^5 values of a channel and more.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # The number of values comes along with the sums: parts differ in size in a last batch that is not full.
        own = input.new_tensor([input.numel() // input.shape[1]], dtype=torch.float64)
        sums, number = total(torch.cat([_sum(input), own])).split([input.shape[1], 1])
        mean = (sums / number).to(input.dtype)
        centred = input - _wide(mean, input)
        variance = total(_sum(centred.square())) / number
        scale = (variance + eps).rsqrt().to(input.dtype)
        normal = centred.mul_(_wide(scale, input))
        ctx.save_for_backward(normal, scale, weight, number)
        output = normal.clone() if weight is None else normal * _wide(weight, input)
        if bias is not None:
            output += _wide(bias, input)
        variance = variance.to(input.dtype)
        ctx.mark_non_differentiable(mean, variance, number)
        return output, mean, variance, number

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        normal, scale, weight, number = ctx.saved_tensors
        gradient = gradients[0]
        own = torch.stack([_sum(gradient), _sum(gradient * normal)])
        mean, slope = (total(own) / number).to(gradient.dtype)
        factor = scale if weight is None else scale * weight
        inner = gradient - _wide(mean, gradient) - normal * _wide(slope, gradient)
        of_bias, of_weight = own.to(gradient.dtype)
        is_affine = weight is not None
        return inner * _wide(factor, gradient), of_weight if is_affine else None, of_bias if is_affine else None, None


def _sum(values: Tensor) -> Tensor:
    """The sum of each channel, float64 [C], of values [N, C, ...]."""
    return values.sum([0, *range(2, values.dim())], dtype=torch.float64)


def _wide(channels: Tensor, like: Tensor) -> Tensor:
    return channels.view(1, -1, *[1] * (like.dim() - 2))


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm over the samples of all processes, for tensors [N, C, ...] on the CPU; torch's ``SyncBatchNorm`` knows GPUs alone.

    In training all processes normalise by mean and variance of all their samples, and their running statistics are the same.
    In a single process, and in evaluation, it is an ordinary batch norm. The parts of the processes may differ in size.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(input)
        # As torch's own: half precision is normalised in float32, and the statistics are float32 too.
        values = input.float() if input.dtype in HALF else input
        output, mean, variance, number = _Normalize.apply(values, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            move_running_statistics(self, mean, variance * (number / (number - 1)).to(values.dtype))
        return output.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {list(input.shape)}")


class _WithActivation:
    """Makes of a batch norm what timm's ``BatchNormAct2d`` is, which has dropout and activation in it."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))  # type: ignore[misc]


class _SynchronizedBatchNormAct(_WithActivation, SynchronizedBatchNorm):
    pass


class _SyncBatchNormAct(_WithActivation, nn.SyncBatchNorm):
    pass


_PLAIN = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


def synchronize_batch_norms(
    net: nn.Module, device: torch.device, *, apart: Iterable[nn.Module] = (), only_asked: bool = False
) -> int:
    """Replaces every batch norm in a built net by one over the whole batch, with the same tensors.

    Args:
        net: changed in place. The names in its state dict stay as they are.
        device: to train on: the CPU, or one whose batch norms torch synchronises.
        apart: modules below ``net`` that stay as they are.
        only_asked: leaves alone all but those that the net itself wants so (torch's ``SyncBatchNorm``).

    Returns:
        How many there were, left alone or not; a net without any, such as a vision transformer, has nothing to synchronise.

    Raises:
        InputError: there is a batch norm of another kind.
    """
    is_cpu = device.type == "cpu"
    kinds: dict[str, Any] = dict.fromkeys(_PLAIN, SynchronizedBatchNorm if is_cpu else nn.SyncBatchNorm)
    kinds["BatchNormAct2d"] = _SynchronizedBatchNormAct if is_cpu else _SyncBatchNormAct

    def build(norm: nn.BatchNorm2d, name: str) -> nn.Module:
        if only_asked and not isinstance(norm, nn.SyncBatchNorm):
            return norm
        kind = kinds.get(type(norm).__name__)
        if kind is None:
            raise InputError(f"{name} is a {type(norm).__name__}, which cannot be synchronised: leave --sync-bn out")
        return kind(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)

    return replace_batch_norms(net, build, apart)
