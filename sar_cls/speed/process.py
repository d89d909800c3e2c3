"""What a contender's own program would have set in its process, where all contenders share one."""

from __future__ import annotations

import torch

from sar_cls.steps.allocator import default_memory, keep_freed_memory
from sar_cls.steps.precision import exact_float32


def as_here() -> None:
    """This project's runs: freed memory is kept on the CPU, float32 is exact on a GPU."""
    keep_freed_memory()
    exact_float32()


def as_elsewhere() -> None:
    """torch's and glibc's own settings: memory goes back to the system, convolutions of a GPU may use TF32."""
    default_memory()
    torch.backends.cudnn.allow_tf32 = True
