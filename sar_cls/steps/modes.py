"""Which step a run takes: the eager one, or what was asked for on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sar_cls import messages
from sar_cls.steps.captured import GraphStep
from sar_cls.steps.step import CompiledStep, EagerStep

MODES = ("eager", "compile", "cudagraph")
# Captured in a graph, a ResNet-32 trains 1.45 times as fast on an H200 in float32, to the same numbers (results/speed). Other nets
# and cards have not been measured, so it is still to be asked for.
DEFAULT_MODE = "eager"


def build_step(
    model: Any,
    optim_wrapper: Any,
    batch_size: int,
    mode: str,
    say: Callable[[str], None] = messages.remark,
    *,
    tensors: bool = True,
) -> EagerStep:
    """The step for a mode. On CUDA "compile" captures the compiled step in a graph as well.

    Args:
        model: with ``train_step``.
        optim_wrapper: of the runner.
        batch_size: of a full batch.
        mode: one of ``MODES``.
        say: prints a line, where the step cannot be had in that mode.
        tensors: whether a batch is tensors of one shape ("inputs", "targets"), and not lists of images and samples.

    Raises:
        ValueError: an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose one of {', '.join(MODES)}")
    if mode == "eager":
        return EagerStep(model, optim_wrapper)
    reason = "this mode is for one process" if _is_wrapped(model) else None
    if getattr(optim_wrapper, "_accumulative_counts", 1) != 1:
        reason = "this mode does not accumulate gradients over batches"
    if not tensors:
        reason = "images that come one by one through pipelines are no batch of one shape"
    if reason is not None:
        say(f"training eagerly, not in mode {mode}: {reason}")
        return EagerStep(model, optim_wrapper)
    device = next(model.parameters()).device
    reason = why_not_captured(device, optim_wrapper)
    if mode == "compile":
        step: EagerStep = CompiledStep(model, optim_wrapper, batch_size, say=say)
    else:
        step = EagerStep(model, optim_wrapper)
        if reason is not None:
            say(f"training eagerly, not in mode {mode}: {reason}")
    return GraphStep(step, batch_size, say=say) if reason is None else step


def why_not_captured(device: torch.device, optim_wrapper: Any) -> str | None:
    """Why a step cannot be captured, known before it is tried; None where it may work."""
    if device.type != "cuda":
        return f"a CUDA graph needs a CUDA device, this is {device.type}"
    # Other optimizers branch on their state or count steps on the host unless told otherwise.
    if type(optim_wrapper.optimizer) is not torch.optim.SGD:
        return f"only SGD is captured in a graph, not {type(optim_wrapper.optimizer).__name__}"
    if optim_wrapper.clip_grad_kwargs:
        return "mmengine's gradient clipping waits for the device at every step"
    return None


def _is_wrapped(model: nn.Module) -> bool:
    """Whether the model is that of one of several processes (DistributedDataParallel, FSDP and their kin hold it so)."""
    return isinstance(getattr(model, "module", None), nn.Module)
