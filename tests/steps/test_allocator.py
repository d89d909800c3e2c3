"""What is done with freed memory is seen in the pages that a process has to map anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from sar_cls.steps import allocator

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(12 << 20)  # 48 MiB: glibc would map and unmap it each time
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The heap grows to its size in the first rounds after the change.
print(faults(), allocator.keep_freed_memory(), [faults() for _ in range(4)][-1], allocator.default_memory(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_memory_is_kept_and_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    stock, kept, after, back, again = found.stdout.split()
    assert (kept, back) == ("True", "True")
    assert int(stock) > 10_000
    assert int(after) < 100
    assert int(again) > 10_000


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from sar_cls.steps import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert allocator.keep_freed_memory() is False
    assert allocator.default_memory() is False
