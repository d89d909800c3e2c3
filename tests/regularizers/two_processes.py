"""A function in two processes: forks of one that has imported torch, and not two that import it again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import torch.multiprocessing


def run_in_two(function: Callable[..., None], *arguments: object) -> None:
    """``function(rank, *arguments)`` for ranks 0 and 1; raises what one of them raises."""
    multiprocessing.set_forkserver_preload(["torch", "torch._dynamo", "sar_cls"])
    torch.multiprocessing.start_processes(function, arguments, nprocs=2, start_method="forkserver")
