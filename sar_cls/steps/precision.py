"""The precision of a run's forward and backward pass."""

from __future__ import annotations

from typing import Any

import torch

PRECISIONS = ("fp32", "bf16")
# The exact one, though bf16 is one and a half times as fast on a CPU that multiplies it in hardware: over five paired seeds it did
# not show that it leaves SAR as it is (results/precision).
DEFAULT_PRECISION = "fp32"


def exact_float32() -> None:
    """float32 is float32 in the whole process, also in the convolutions of a GPU that would take TF32's shorter products for it."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def precision_of(config: Any) -> str:
    """The precision that a config's ``optim_wrapper`` names, or the default."""
    return config.optim_wrapper.get("precision", DEFAULT_PRECISION)
