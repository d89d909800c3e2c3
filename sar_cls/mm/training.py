"""Trains a config with mmengine's Runner and evaluates the last and the best epoch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sar_cls.mm.checkpoint import BEST, LAST, read_checkpoint
from sar_cls.mm.loaders import DataSplits, test_loader, train_loader
from sar_cls.mm.loops import predict
from sar_cls.mm.options import Options
from sar_cls.mm.outcome import outcome
from sar_cls.mm.progress import ProgressHook
from sar_cls.mm.runner import DeviceRunner
from sar_cls.mm.schedule import shorten
from sar_cls.mm.second_stage import first_stage_weights

if TYPE_CHECKING:
    from sar_cls.mm.engine import Job, Resolved


def execute(
    job: Job, options: Options, resolved: Resolved, splits: DataSplits, stage1_state: dict[str, Tensor] | None
) -> dict[str, Any]:
    """Trains to the last epoch, from ``last.pth`` where there is one; saves the test logits and returns the record's fields.

    Args:
        job: which run.
        options: of the command line.
        resolved: the config.
        splits: the images.
        stage1_state: the first stage's state dict, for a second stage.
    """
    runner, progress = _build_runner(job, options, resolved, splits, stage1_state)
    try:
        runner.train()
    finally:
        progress.close()
    loader = test_loader(splits.test, resolved.config.val_dataloader, runner.device)
    logits = {"last": predict(runner.bare_model, loader, runner.precision)}
    runner.bare_model.load_state_dict(read_checkpoint(job.run_dir / BEST, runner.device)["state_dict"])
    logits["best"] = predict(runner.bare_model, loader, runner.precision)
    return outcome(job, resolved, splits, logits, runner.device, runner.precision, runner.history, runner.best_epoch())


def _build_runner(
    job: Job, options: Options, resolved: Resolved, splits: DataSplits, stage1_state: dict[str, Tensor] | None
) -> tuple[DeviceRunner, ProgressHook]:
    config, device = resolved.config, torch.device(options.device)
    loader = train_loader(splits.train, config.train_dataloader, job.seed, device)
    shorten(config, resolved.epochs, len(loader))
    evaluated = {"test": splits.test} if splits.val is None else {"val": splits.val, "test": splits.test}
    precision = config.optim_wrapper.get("precision", "fp32")
    progress = ProgressHook(job.title or f"{job.suite}/{job.row} seed {job.seed}")

    def initial_weights(model: nn.Module) -> dict[str, Tensor]:
        assert stage1_state is not None
        with_classifier = config.get("continue_classifier", True)
        return first_stage_weights(stage1_state, model, str(job.stage1_dir), with_classifier=with_classifier)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        runner = DeviceRunner(
            device=device,
            precision=precision,
            selection="test" if splits.val is None else "val",
            identity={
                "recipe": resolved.recipe,
                "seed": str(job.seed),
                "epochs": str(resolved.epochs),
                "training images": splits.train.fingerprint,
                "precision": precision,
            },
            initial_weights=None if stage1_state is None else initial_weights,
            model=dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()),
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
    config.dump(str(job.run_dir / "config.py"))
    if (job.run_dir / LAST).exists():
        print(f"{progress.title}: resuming", flush=True)
    return runner, progress
