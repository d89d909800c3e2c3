"""What the C library does with the memory of tensors that were freed on the CPU.

glibc gives freed blocks above 32 MiB straight back to the system and asks for them again at the next step: then every page of them
is cleared and mapped anew. One activation of ResNet-18 for a batch of 128 images of 32x32 pixels is just above that size, and a
step without these calls takes a fifth longer (``results/speed``). No number depends on it.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has glibc keep freed memory for the next step; elsewhere nothing is done.

    Of the whole process. It may hold up to 2 GiB more than it uses.

    Returns:
        Whether it is in force.
    """
    return _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _MOST})


def default_memory() -> bool:
    """Back to what glibc itself arrives at in a process that frees large blocks (its thresholds grow up to these)."""
    done = _set({_M_MMAP_MAX: 65536, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20})
    if done:
        ctypes.CDLL(None).malloc_trim(0)  # what was kept goes back too
    return done


def _set(values: dict[int, int]) -> bool:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    done = [mallopt(name, value) for name, value in values.items()]
    return all(result == 1 for result in done)
