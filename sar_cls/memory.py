"""Out of memory: told in a sentence that says what was being allocated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sar_cls.errors import RunFailed

# How torch's allocators and the libraries below it begin to say it; on the CPU it is a plain RuntimeError.
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "cublas_status_alloc_failed", "std::bad_alloc")
# torch's CPU allocator gives a number of bytes, CUDA's a size with its unit, NumPy likewise.
_AMOUNT = re.compile(
    r"(?:you tried to allocate|tried to allocate|unable to allocate)\s+([\d.]+)\s*(bytes|[KMGTPE]i?B)", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on the CPU or on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def allocating(what: str, remedy: str) -> Iterator[None]:
    """Turns an error for lack of memory inside the block into a sentence; others pass.

    Args:
        what: what is done in the block, "training on batches of 128 images ...".
        remedy: what makes it smaller.

    Raises:
        RunFailed: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        amount = _AMOUNT.search(str(error))
        wanted = f", {_readable(*amount.groups())} more were asked for" if amount else ""
        where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        raise RunFailed(f"out of {where} while {what}{wanted}: {remedy}") from error


def _readable(number: str, unit: str) -> str:
    if unit.lower() != "bytes":
        return f"{number.rstrip('.')} {unit}"  # NumPy writes "128. PiB"
    value, names = float(number), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(names) > 1:
        value, names = value / 1024, names[1:]
    return f"{value:.4g} {names[0]}"
