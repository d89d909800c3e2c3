"""The training steps that are compared: the bare one, this project's with and without each regularizer, and other pipelines'."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from torch import Tensor, nn

from sar_cls.data.augment import normalize
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.schedule import recipe_epochs
from sar_cls.engine.training import build_runner
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.runner import DeviceRunner
from sar_cls.speed.other_pipelines import mmpretrain_step, prepare, stock_step
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender, repeat
from sar_cls.speed.setting import Setting, setting_config, source_of
from sar_cls.steps.captured import WARM_UP, CudaRecorder, Recorder
from sar_cls.steps.precision import autocast
from sar_cls.suites.rows import Source

# name -> (label, the regularizer's name).
_OWN = {
    "loop": ("(b) this project: data, augmentation, mixup, logging", None),
    "sar": ("(c) the same with SAR", "SAR"),
    "car": ("(c) the same with CAR", "CAR"),
    "center": ("(c) the same with CenterLoss", "CenterLoss"),
    "fixed": ("(c) the same with FixedAnchors", "FixedAnchors"),
}
BARE, LOOP = "bare", "loop"
NAMES = (BARE, *_OWN, "stock", "stock_fp32", "mmpretrain")


def build(setting: Setting, splits: DataSplits, only: Sequence[str] = NAMES) -> list[Contender]:
    """The contenders named in ``only``, in the order of ``NAMES``.

    Raises:
        InputError: none of them is timed in this precision.
    """
    # A compiled step of an earlier setting counts towards the limit of recompilations.
    torch._dynamo.reset()
    makers: dict[str, Callable[[], Contender]] = {BARE: lambda: bare_step(setting, splits)}
    for name, (label, regularizer) in _OWN.items():
        makers[name] = lambda name=name, label=label, regularizer=regularizer: own_step(  # type: ignore[misc]
            setting, splits, regularizer, name=name, label=label
        )
    makers["stock"] = lambda: stock_step(setting, splits)
    if setting.precision != "fp32":
        makers["stock_fp32"] = lambda: stock_step(setting, splits, as_published=True)
    makers["mmpretrain"] = lambda: mmpretrain_step(setting, splits)
    chosen = [name for name in NAMES if name in only and name in makers]
    if not chosen:
        raise InputError(
            f"--only {' '.join(only)} leaves nothing to time in {setting.precision}: stock_fp32 stands beside --precision bf16"
        )
    return [makers[name]() for name in chosen]


def bare_step(setting: Setting, splits: DataSplits) -> Contender:
    """(a) Forward, cross-entropy, backward and optimizer on one batch that is ready on the device."""
    as_here()  # before a graph is recorded: the contender timed last has left the process as its own program has it
    config = setting_config(setting, len(splits.train.classes), mixup=False)
    model = build_model(config, setting)
    options = {key: value for key, value in config.optim_wrapper.optimizer.items() if key not in ("type", "_scope_")}
    optimizer = torch.optim.SGD(model.parameters(), **options)
    inputs, targets = preloaded(setting, splits, config)

    def loss_of() -> Tensor:
        with autocast(setting.device, setting.precision):
            return F.cross_entropy(model(inputs), targets)

    losses, modes = loss_of, []
    if setting.mode == "compile":
        losses, modes = torch.compile(loss_of, fullgraph=True, dynamic=False), ["compile"]

    def step() -> None:
        losses().backward()
        optimizer.step()
        optimizer.zero_grad()

    replay = step
    if setting.mode != "eager" and setting.device.type == "cuda":
        replay, modes = recorded(step, CudaRecorder(setting.device)), [*modes, "cudagraph"]
    return Contender(
        BARE,
        "(a) bare step: forward, cross-entropy, backward, optimizer",
        setting.steps * setting.batch_size,
        run=lambda: repeat(replay, setting.steps),
        process=as_here,
        settle=replay,
        mode=lambda: "+".join(modes) or "eager",
    )


def recorded(step: Callable[[], None], recorder: Recorder) -> Callable[[], None]:
    """The step as a replay that holds it: a CUDA graph reads the memory of model and batch, which live as long as the step."""
    for _ in range(WARM_UP):
        recorder.warm_up(step)
    replay = recorder.record(step)

    def run(held: Callable[[], None] = step) -> None:
        replay()

    return run


def own_step(
    setting: Setting,
    splits: DataSplits,
    regularizer: str | None = None,
    *,
    name: str = LOOP,
    label: str = "",
    source: Source | None = None,
) -> Contender:
    """(b), (c) Epochs of a run as ``benchmarks/run.py`` starts it: the same runner, loop, loader, preprocessor and hooks.

    ``source`` is what a row runs, in place of the setting's net and ``regularizer``.
    """
    folder = tempfile.TemporaryDirectory(prefix="sar_cls-speed-")
    runner = own_runner(setting, splits, regularizer, Path(folder.name), source)
    return contender_of(runner, setting, name, label, folder)


def contender_of(
    runner: DeviceRunner, setting: Setting, name: str, label: str, folder: tempfile.TemporaryDirectory[str]
) -> Contender:
    """The epochs, or intervals, of a runner that has done all but the first; ``folder`` is of its run and goes at the end."""
    loop = runner.train_loop
    batch = next(iter(loop.dataloader))
    return Contender(
        name,
        label,
        setting.steps * setting.batch_size,
        run=loop.run_epoch,
        process=as_here,
        settle=lambda: loop.step(batch),
        close=folder.cleanup,
        mode=lambda: loop.step.mode,
    )


def own_runner(
    setting: Setting, splits: DataSplits, regularizer: str | None, folder: Path, source: Source | None = None
) -> DeviceRunner:
    """A run's runner that has done all but its first epoch."""
    config = setting_config(setting, len(splits.train.classes), regularizer, source=source)
    return ready_runner(setting, splits, config, source or source_of(setting.net), recipe_epochs(config), folder)


def ready_runner(
    setting: Setting, splits: DataSplits, config: Config, source: Source, epochs: int, folder: Path
) -> DeviceRunner:
    """The runner of a config, as a run of ``epochs`` epochs or iterations would have it, that shows nothing."""
    planned = PlannedRun(
        source=source,
        config=config,
        recipe="speed",
        overrides={},
        full_epochs=epochs,
        epochs=epochs,
        suite="speed",
        row=setting.net,
        seed=0,
        run_dir=folder,
        title=setting.title,
        options=Options(device=str(setting.device), mode=setting.mode, memory_format=setting.memory_format),
    )
    runner, progress = build_runner(planned, splits)
    # The hook does its work at every interval, but shows it to nobody.
    progress.console, progress.interval = Console(file=io.StringIO()), float("inf")
    prepare(runner)
    return runner


def build_model(config: Any, setting: Setting, scope: str = "mmpretrain") -> nn.Module:
    """The network of a config, on the device in training mode; ``scope`` is the library whose parts it names."""
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(ConfigDict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
    return model.to(setting.device).to(memory_format=layout_of(setting)).train()


def layout_of(setting: Setting) -> torch.memory_format:
    """Of weights and images."""
    return torch.channels_last if setting.memory_format == "channels_last" else torch.contiguous_format


def preloaded(setting: Setting, splits: DataSplits, config: Any) -> tuple[Tensor, Tensor]:
    """The first batch as the network takes it: float32 [N, 3, H, W] and labels [N], on the device."""
    images = splits.train.images[: setting.batch_size].to(setting.device)
    inputs = normalize(images, config.data_preprocessor.mean, config.data_preprocessor.std)
    return inputs.contiguous(memory_format=layout_of(setting)), splits.train.labels[: setting.batch_size].to(
        setting.device
    )
