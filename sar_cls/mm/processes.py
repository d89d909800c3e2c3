"""What the processes of one run do together: the wrapped model, its batch norms, the evaluation of a part each."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_dist_info
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@MODEL_WRAPPERS.register_module()
class SharedBatch(MMDistributedDataParallel):
    """``MMDistributedDataParallel`` for parts of a batch that may differ in size.

    Gradients are averaged over the processes, so each weighs its loss with its ``share`` of the batch, which is 1 but in a last
    batch that is not full. What is logged is weighed alike, so that its mean over processes is that of the batch.
    """

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        share = data["share"]
        with optim_wrapper.optim_context(self):
            prepared = self.module.data_preprocessor(data, True)
            losses = self._run_forward(prepared, mode="loss")
        loss, log_vars = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss * share)
        return {name: value.detach() * share for name, value in log_vars.items()}


def wrapped(model: nn.Module, device: torch.device, find_unused_parameters: bool = False) -> SharedBatch:
    """The model for training by all processes, with the weights of the first one; buffers are each one's own, and equal.

    Args:
        model: on the device.
        device: of this process.
        find_unused_parameters: whether to look, at every step, for parameters that the loss does not depend on; without it torch
            refuses a net that has some.
    """
    # Buffers are never sent around: running statistics are averaged once an epoch, and all else is equal, since all build the
    # same net by the same seed, read the same checkpoint and move it alike.
    place = None if device.type == "cpu" else [device]
    with warnings.catch_warnings():
        # torch's new name for it is not in the older versions that are supported.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        return SharedBatch(
            module=model,
            device_ids=place,
            broadcast_buffers=False,
            find_unused_parameters=find_unused_parameters,
        )


@torch.no_grad()
def average_batch_norms(model: nn.Module) -> None:
    """Gives all processes the mean of their batch norms' running statistics; of those that are in training mode.

    Running statistics are linear in those of the batches, so once an epoch is as good as at every step: they are what
    :class:`sar_cls.models.VirtualBatchNorm2d` has in a single process, but in a last batch that is not full. Processes share that
    evenly (47 and 48 of 95 images), and virtual batches are full as long as there are images (64 and 31).
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var) if buffer is not None]
    if not buffers:
        return
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    all_reduce(flat, op="mean")
    for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def mean_over_processes(figures: dict[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each figure over the processes, which have the same ones."""
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device=device)
    all_reduce(values, op="mean")
    return dict(zip(figures, values.tolist(), strict=True))


def own_batches(number: int) -> range:
    """Which of an evaluation's batches are this process's: whole ones, so that a net sees what it would in one process."""
    rank, processes = get_dist_info()
    return range(rank * number // processes, (rank + 1) * number // processes)


def gathered(rows: Tensor, batch_size: int, num_samples: int) -> Tensor:
    """The rows [n, ...] of all samples in their order, from those of each process's :func:`own_batches`.

    Args:
        rows: of this process's batches. One without a batch of its own gives those of any: they are not used.
        batch_size: samples in a batch.
        num_samples: n.
    """
    _, processes = get_dist_info()
    number = -(-num_samples // batch_size)
    ends = [min(num_samples, (rank + 1) * number // processes * batch_size) for rank in range(processes)]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    used = rows[: max(sizes)]
    padded[: len(used)] = used
    return torch.cat([part[:size] for part, size in zip(all_gather(padded), sizes, strict=True)])
