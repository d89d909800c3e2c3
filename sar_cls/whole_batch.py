"""What a loss needs of the whole batch where several processes have a part of it each.

Wrapped by DistributedDataParallel every process computes the loss of its own part, and the gradients are averaged. That is the
gradient of the whole batch for a loss that is a mean over samples, and for no other: a quotient of sums, a squared mean, the size
of a class in the batch need the sums of all parts, and the gradient has to come back to all of them.

The classes with such terms (:class:`sar_cls.regularizers.base.Regularizer`, :class:`sar_cls.losses.ClassCountLoss`) have an
attribute ``whole_batch``: False, statistics are those of the process's own part; True, those of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def num_processes() -> int:
    """Processes of the run, 1 where it is not distributed. Reads no tensor."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


class _Total(torch.autograd.Function):
    """A sum over processes whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


def total(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes, ``values`` themselves in a single one.

    A loss L of such sums is the same on every process. Each gets the gradient of the sum of all their losses, which
    DistributedDataParallel divides by their number: what is left is the gradient of L with respect to the whole batch. All
    processes must call it the same number of times in the same order.
    """
    return values if num_processes() == 1 else _Total.apply(values)


def all_rows(values: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, in the order of their ranks, and where those of this one begin.

    The gradient is that of :func:`total`. Processes may have different numbers of rows; to read these is a wait for the device.

    Args:
        values: [N, ...].

    Returns:
        [sum of N, ...], and the first of the own rows.
    """
    processes = num_processes()
    if processes == 1:
        return values, 0
    rank = torch.distributed.get_rank()
    numbers = torch.zeros(processes, dtype=torch.int64, device=values.device)
    numbers[rank] = len(values)
    torch.distributed.all_reduce(numbers)
    counts = numbers.tolist()
    before, after = sum(counts[:rank]), sum(counts[rank + 1 :])
    return total(
        torch.cat([values.new_zeros(before, *values.shape[1:]), values, values.new_zeros(after, *values.shape[1:])])
    ), before


def use_whole_batch(model: nn.Module) -> list[str]:
    """Has every part of ``model`` that knows the difference take its statistics over the whole batch; returns their names."""
    found = [(name, module) for name, module in model.named_modules() if hasattr(module, "whole_batch")]
    for _, module in found:
        module.whole_batch = True
    return [name for name, _ in found]
