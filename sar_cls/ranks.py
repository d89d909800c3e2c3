"""Which process of one run this is, as torchrun says it in the environment. Imports nothing, so that messages can ask."""

from __future__ import annotations

import os


def by_torchrun() -> bool:
    """Whether torchrun, or what stands for it, started this process, be it a single one."""
    # All of what a process needs to find the others: WORLD_SIZE alone is also set by other programs.
    return all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def processes() -> int:
    """Processes that train one run together; 1 outside torchrun, and where it started a single one."""
    return max(1, _number("WORLD_SIZE", 1)) if by_torchrun() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return _number("RANK", 0) if processes() > 1 else 0


def local_rank() -> int:
    """Its number among those on this machine, which is that of its GPU."""
    return _number("LOCAL_RANK", rank()) if processes() > 1 else 0


def local_processes() -> int:
    """Processes of the run on this machine."""
    return _number("LOCAL_WORLD_SIZE", processes()) if processes() > 1 else 1


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name) or default)
    except ValueError:
        return default
