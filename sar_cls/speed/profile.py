"""Where the time of a training step goes: a trace, the most expensive operations, the number of kernels."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sar_cls.mm.loaders import DataSplits
from sar_cls.speed.contenders import own_runner
from sar_cls.speed.process import as_here
from sar_cls.speed.setting import Setting


@dataclass(frozen=True)
class Profile:
    """What a profiled epoch showed.

    Attributes:
        trace: file for chrome://tracing or Perfetto.
        operations: (name, milliseconds a step on the device, calls a step), the most expensive first.
        kernels: launched a step on CUDA; None elsewhere.
    """

    trace: Path
    operations: list[tuple[str, float, float]]
    kernels: float | None


def profile_step(
    setting: Setting, splits: DataSplits, folder: Path, regularizer: str | None = None, top: int = 10
) -> Profile:
    """Profiles ``setting.steps`` steps of the real loop, after as many that are not recorded.

    Args:
        setting: what to run.
        splits: the images.
        folder: for the trace; made where it is missing.
        regularizer: its name, or None.
        top: number of operations.
    """
    as_here()  # what was timed before may have left the process otherwise
    on_cuda = setting.device.type == "cuda"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [setting.net, regularizer or "plain", setting.precision, setting.memory_format, setting.mode]
    trace = folder / f"{'-'.join(parts)}.json"
    with tempfile.TemporaryDirectory(prefix="sar_cls-speed-") as work_dir:
        loop = own_runner(setting, splits, regularizer, Path(work_dir)).train_loop
        for _ in range(2):  # compiled or captured, buffers there
            loop.run_epoch()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
        with profile(activities=activities) as profiler:
            loop.run_epoch()
            if on_cuda:
                torch.cuda.synchronize(setting.device)
    profiler.export_chrome_trace(str(trace))

    def on_device(event: Any) -> bool:
        """Whether it is a kernel or a copy, and no range that an operator or an annotation spans."""
        return event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)

    averages: Any = profiler.key_averages()
    if on_cuda:  # the operators carry the time of the kernels that they launch: it would count twice
        averages = [event for event in averages if on_device(event)]

    def own_time(event: Any) -> float:
        return event.self_device_time_total if on_cuda else event.self_cpu_time_total

    ranked = sorted(averages, key=own_time, reverse=True)[:top]
    operations = [(event.key, own_time(event) / 1000 / setting.steps, event.count / setting.steps) for event in ranked]
    kernels = None
    if on_cuda:
        names = [event.name for event in profiler.events() or [] if on_device(event)]
        kernels = sum(not name.startswith(("Memcpy", "Memset")) for name in names) / setting.steps
    return Profile(trace, operations, kernels)
