"""Batch norm over the whole batch where several processes have a part of it each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sar_cls.errors import InputError
from sar_cls.models.replaced_norms import replace_batch_norms
from sar_cls.whole_batch import num_processes, total


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm over the samples of all processes, for tensors [N, C, ...] on the CPU; torch's ``SyncBatchNorm`` knows GPUs alone.

    In training all processes normalise by mean and variance of all their samples, and their running statistics are the same.
    In a single process, and in evaluation, it is an ordinary batch norm. The parts of the processes may differ in size.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(input)
        dimensions = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        # The number of values comes along with the sums: parts differ in size in a last batch that is not full.
        own = input.new_tensor([input.numel() // input.shape[1]])
        sums, number = total(torch.cat([input.sum(dimensions), own])).split([input.shape[1], 1])
        mean = sums / number
        centred = input - mean.view(shape)
        variance = total(centred.square().sum(dimensions)) / number  # around the mean: no digits are lost
        if self.track_running_stats:
            self._move_running_statistics(mean, variance * number / (number - 1))
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {list(input.shape)}")

    @torch.no_grad()
    def _move_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.to(mean.dtype) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


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


def synchronize_batch_norms(backbone: nn.Module, device: torch.device) -> int:
    """Replaces every batch norm in a built backbone by one over the whole batch, with the same tensors.

    Args:
        backbone: changed in place. The names in its state dict stay as they are.
        device: to train on: the CPU, or one whose batch norms torch synchronises.

    Returns:
        How many there were; a net without any, such as a vision transformer, has nothing to synchronise.

    Raises:
        InputError: there is a batch norm of another kind.
    """
    is_cpu = device.type == "cpu"
    kinds: dict[str, Any] = dict.fromkeys(_PLAIN, SynchronizedBatchNorm if is_cpu else nn.SyncBatchNorm)
    kinds["BatchNormAct2d"] = _SynchronizedBatchNormAct if is_cpu else _SyncBatchNormAct

    def build(norm: nn.BatchNorm2d, name: str) -> nn.Module:
        kind = kinds.get(type(norm).__name__)
        if kind is None:
            raise InputError(f"{name} is a {type(norm).__name__}, which cannot be synchronised: leave --sync-bn out")
        return kind(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)

    return replace_batch_norms(backbone, build)
