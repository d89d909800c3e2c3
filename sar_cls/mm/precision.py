"""Which precision a run has when neither its config nor the command line says."""

from __future__ import annotations

from typing import Any

import torch

PRECISIONS = ("fp32", "bf16")


def default_precision(device: torch.device | str) -> str:
    """The faster precision of a device that has been shown to leave accuracies as they are.

    "bf16" on a CPU that multiplies bfloat16 in hardware (AVX512_BF16 or AMX): one and a half times as fast there, with no
    difference in accuracy that three paired seeds would show (``results/precision``). "fp32" on other CPUs, where bfloat16 is
    emulated, and on CUDA until the same has been measured there.
    """
    if torch.device(device).type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


def exact_float32() -> None:
    """float32 is float32 in the whole process, also in the convolutions of a GPU that would take TF32's shorter products for it."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def precision_of(config: Any) -> str:
    """The precision in a config's ``optim_wrapper``; configs that were not resolved for a device may have none, that is "fp32"."""
    return config.optim_wrapper.get("precision", "fp32")
