"""Running statistics of batch norms that compute the statistics of a batch themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def move_running_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Moves the running mean and variance of ``norm`` towards those of a batch [C], as torch's own batch norms do.

    By ``momentum``; where it is None they are the means over all batches.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / norm.num_batches_tracked.to(mean.dtype) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), share)
