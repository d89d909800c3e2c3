"""Trains a config with mmengine's Runner and evaluates the last and the best epoch."""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sar_cls.engine.options import Options
from sar_cls.engine.results import outcome
from sar_cls.engine.schedule import shorten
from sar_cls.files import replacing
from sar_cls.mm.checkpoint import BEST, LAST, read_own
from sar_cls.mm.handover import CONFIG, Handover
from sar_cls.mm.loaders import IMAGES, DataSplits, test_loader, train_loader
from sar_cls.mm.loops import predict
from sar_cls.mm.progress import ProgressHook
from sar_cls.mm.runner import DeviceRunner
from sar_cls.mm.second_stage import first_stage_weights
from sar_cls.steps.allocator import keep_freed_memory
from sar_cls.steps.memory import allocating
from sar_cls.steps.modes import DEFAULT_MODE
from sar_cls.steps.precision import exact_float32, precision_of
from sar_cls.weights import load_weights

if TYPE_CHECKING:
    from sar_cls.engine.first_stage import FirstStage
    from sar_cls.engine.recipe import Resolved
    from sar_cls.engine.run import Job


def execute(
    job: Job, options: Options, resolved: Resolved, splits: DataSplits, stage1: FirstStage | None
) -> dict[str, Any]:
    """Trains to the last epoch, from ``last.pth`` where there is one; saves the test logits and returns the record's fields.

    Args:
        job: which run.
        options: of the command line.
        resolved: the config.
        splits: the images.
        stage1: the first stage, for a second one.
    """
    exact_float32()
    device = torch.device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        _start_with_a_free_device(device)
    runner, progress = build_runner(job, options, resolved, splits, stage1)
    try:
        with allocating(f"training {_work(runner)}", "use a smaller batch_size, image or backbone"):
            try:
                runner.train()
            finally:
                progress.close()
            last = _logits(runner)
            runner.bare_model.load_state_dict(read_own(job.run_dir / BEST, runner.identity)["state_dict"])
            best = _logits(runner)
    finally:
        runner.close()
    logits = {split: {"last": last[split], "best": best[split]} for split in last}
    result = outcome(
        job, resolved, splits, logits, runner.device, runner.precision, runner.history, runner.best_epoch()
    )
    gate = _gate(runner.history)
    if gate and gate["share_gate_open_last_tenth"] == 0:
        print(
            f"{progress.title}: SAR's gate was closed in the last tenth of the epochs: its anchors did not act",
            file=sys.stderr,
            flush=True,
        )
    if len(runner.threads_used) > 1:
        result["machine"]["threads_used"] = runner.threads_used
    extra = {"mode": runner.train_loop.step.mode, "memory_format": runner.memory_format, **gate}
    if runner.lost_best_epoch is not None:
        extra |= {"lost_best_epoch": runner.lost_best_epoch, "best_searched_from": runner.best_from}
    return {**result, "run_id": runner.run_id, "extra": extra}


def _work(runner: DeviceRunner) -> str:
    """What a step works on, in words."""
    loader, model = runner.train_dataloader, runner.bare_model
    height, width = loader.image_set.image_size
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    net = f"{type(model.backbone).__name__} ({millions:.3g} M parameters)"
    return f"{net} on batches of {loader.batch_size} images of {height}x{width}"


def _start_with_a_free_device(device: torch.device) -> None:
    """Frees what the runs before this one in the process have left, so that the recorded peak of memory is this run's."""
    if device.index is not None:
        torch.cuda.set_device(device)  # else capturing a graph would open a context on GPU 0 as well
    gc.collect()  # a runner and its loops refer to each other
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def _gate(history: list[dict[str, Any]]) -> dict[str, float]:
    """How often SAR's gate was open over all epochs and over the last tenth of them; nothing for another regularizer."""
    if "share_gate_open" not in history[-1]:
        return {}
    shares = [row["share_gate_open"] for row in history]
    tail = shares[-max(1, len(shares) // 10) :]
    return {"share_gate_open": sum(shares) / len(shares), "share_gate_open_last_tenth": sum(tail) / len(tail)}


def _logits(runner: DeviceRunner) -> dict[str, Tensor]:
    """Logits [n, C] of each set that is evaluated, by its name."""
    loaders = runner.val_loop.loaders
    return {split: predict(runner.bare_model, loader, runner.precision) for split, loader in loaders.items()}


def build_runner(
    job: Job, options: Options, resolved: Resolved, splits: DataSplits, stage1: FirstStage | None
) -> tuple[DeviceRunner, ProgressHook]:
    """The runner of a run, ready for ``train()``, and the hook that shows its progress; arguments as for :func:`execute`."""
    config, device = resolved.config, torch.device(options.device)
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else some versions of torch refuse cuBLAS
    loader = train_loader(splits.train, config.train_dataloader, job.seed, device)
    shorten(config, resolved.epochs, len(loader))
    evaluated = {"test": splits.test} if splits.val is None else {"val": splits.val, "test": splits.test}
    precision = precision_of(config)
    preprocessor = config.data_preprocessor.to_dict()
    if options.memory_format != "channels_last":
        preprocessor["memory_format"] = options.memory_format
    identity = {
        "recipe": resolved.recipe,
        "seed": str(job.seed),
        "epochs": str(resolved.epochs),
        **{IMAGES[name]: fingerprint for name, fingerprint in splits.fingerprints.items()},
        "precision": precision,
        "options": json.dumps(resolved.overrides, sort_keys=True),
    }
    if stage1 is not None:
        identity["first stage"] = stage1.record["run_id"]
    is_resumed = (job.run_dir / LAST).exists()
    if is_resumed:
        read_own(job.run_dir / LAST, identity)  # a foreign run stops here, before anything of it is overwritten
    progress = ProgressHook(job.title or f"{job.suite}/{job.row} seed {job.seed}")

    def initialize(model: nn.Module) -> None:
        if stage1 is not None:
            with_classifier = config.get("continue_classifier", True)
            state, path = stage1.state_dict, str(job.stage1_dir)
            weights = first_stage_weights(state, model, path, with_classifier=with_classifier)
            model.load_state_dict(weights, strict=False)
        elif config.get("weights") is not None:
            print(f"{progress.title}: {load_weights(model, config.weights)}", file=sys.stderr, flush=True)

    building = allocating("building the network", "use a smaller backbone")
    with building, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        runner = DeviceRunner(
            device=device,
            precision=precision,
            mode=options.mode or DEFAULT_MODE,
            memory_format=options.memory_format,
            bn_batch=config.get("bn_batch"),
            selection="test" if splits.val is None else "val",
            identity=identity,
            initialize=initialize,
            model=dict(config.model.to_dict(), data_preprocessor=preprocessor),
            work_dir=str(job.run_dir),
            train_dataloader=loader,
            train_cfg=config.train_cfg.to_dict(),
            optim_wrapper=config.optim_wrapper.to_dict(),
            param_scheduler=config.get("param_scheduler"),
            val_dataloader={name: test_loader(part, config.val_dataloader, device) for name, part in evaluated.items()},
            val_cfg=dict(type="DeviceValLoop"),
            val_evaluator=[],
            # None takes mmengine's own hook out: each reads the losses at every step or keeps a number for each.
            default_hooks=dict(runtime_info=None, timer=None, sampler_seed=None, logger=None, checkpoint=None),
            custom_hooks=[dict(type="HistoryHook"), progress, dict(type="AtomicCheckpointHook")],
            default_scope="mmpretrain",
            randomness=dict(seed=job.seed, deterministic=options.deterministic),
            env_cfg=dict(cudnn_benchmark=device.type == "cuda" and not options.deterministic),
            experiment_name=f"{job.suite}-{job.row}-{job.run_dir.name}",
            log_level="ERROR",
            visualizer=dict(
                type="UniversalVisualizer",
                vis_backends=[dict(type="TensorboardVisBackend")] if options.tensorboard else [],
            ),
            cfg=config,
        )
    with replacing(job.run_dir / CONFIG) as temporary:
        temporary.write_text(config.pretty_text, encoding="utf-8")
    Handover.of(config, splits.train.image_size, options.data_root).write(job.run_dir)
    if is_resumed:
        print(f"{progress.title}: resuming", file=sys.stderr, flush=True)
    return runner, progress
