"""One state for all processes of a distributed run, whatever each of them drew."""

from __future__ import annotations

import torch
from torch import nn


def broadcast_state(module: nn.Module, group: torch.distributed.ProcessGroup | None = None) -> None:
    """Overwrites all parameters and buffers by those of the first process of ``group`` (None: of all processes).

    A parameter that FSDP2 has cut into parts is left alone: each process holds its part of one whole, so there is
    nothing that could differ.

    It is not traced: in a compiled step it is a break of the graph, once, and the next call is compiled without it.
    """
    # Wrapped only now: the decorator imports torch's compiler, which takes a second.
    torch.compiler.disable(_broadcast)(module, group)


@torch.no_grad()
def _broadcast(module: nn.Module, group: torch.distributed.ProcessGroup | None) -> None:
    source = 0 if group is None else torch.distributed.get_global_rank(group, 0)
    for tensor in (*module.parameters(), *module.buffers()):
        if hasattr(tensor, "full_tensor"):
            continue
        # As bytes: not every backend takes every dtype, bool least of all.
        received = tensor.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.broadcast(received.reshape(-1).view(torch.uint8), src=source, group=group)
        tensor.copy_(received)
