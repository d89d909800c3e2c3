"""One run from its config to its record."""

from __future__ import annotations

import resource
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from mmengine.config import Config

from sar_cls import metrics
from sar_cls.errors import InputError
from sar_cls.mm.checkpoint import BEST, LAST, read_checkpoint
from sar_cls.mm.config import load_config, recipe_hash
from sar_cls.mm.loaders import DataSplits, load_splits, test_loader, train_loader
from sar_cls.mm.loops import predict
from sar_cls.mm.progress import ProgressHook
from sar_cls.mm.runner import DeviceRunner
from sar_cls.mm.schedule import recipe_epochs, shorten
from sar_cls.reporting import provenance, record

OUTPUTS = "test_outputs.npz"


class RunLocked(Exception):
    """Another process is at this run."""


@dataclass(frozen=True)
class Options:
    """What the command line may say about a run, beside its row and seed.

    Attributes:
        device: "cpu", "cuda", "cuda:1" ...
        data_root: folder of the data sets; None for the default.
        download: whether a missing data set may be downloaded.
        epochs: epochs to run instead of the recipe's; the run is marked.
        precision: "fp32" or "bf16" instead of the config's.
        val_fraction: share of the training images held out to choose the best epoch.
        imbalance: imbalance factor instead of the config's.
        tensorboard: whether to write TensorBoard files beside the record.
        deterministic: whether to ask torch for deterministic algorithms.
    """

    device: str = "cpu"
    data_root: str | None = None
    download: bool = False
    epochs: int | None = None
    precision: str | None = None
    val_fraction: float | None = None
    imbalance: float | None = None
    tensorboard: bool = False
    deterministic: bool = False


@dataclass
class DataCache:
    """Image sets of earlier runs of the same process, so that a suite reads each once."""

    sets: dict[str, DataSplits] = field(default_factory=dict)

    def get(self, config: dict[str, Any], options: Options) -> DataSplits:
        """The splits that a config's ``train_dataloader.dataset`` names."""
        key = repr((sorted(config.items(), key=repr), options.data_root, options.val_fraction))
        if key not in self.sets:
            self.sets.clear()  # one data set at a time in memory
            self.sets[key] = load_splits(
                config, options.data_root, download=options.download, val_fraction=options.val_fraction
            )
        return self.sets[key]


@dataclass(frozen=True)
class Job:
    """A row of a suite with one seed: everything that says which run it is."""

    suite: str
    row: str
    config: Path
    seed: int
    run_dir: Path
    stage1_dir: Path | None = None
    title: str = ""


def prepare(job: Job, options: Options) -> tuple[Config, Config, dict[str, Any]]:
    """The row's config as it stands, the config with the options applied, and what they changed about the recipe."""
    row_config = load_config(job.config)
    config, overrides = row_config.copy(), {}
    if options.imbalance is not None:
        longtail = config.train_dataloader.dataset.get("longtail")
        if longtail is None:
            raise InputError(f"{job.suite}/{job.row} is no long-tailed row: leave --imbalance out")
        if float(longtail["imbalance_factor"]) != float(options.imbalance):
            longtail["imbalance_factor"] = overrides["imbalance"] = options.imbalance
    if options.val_fraction is not None:
        overrides["val_fraction"] = options.val_fraction
    if options.precision is not None:
        config.optim_wrapper["precision"] = options.precision
    return row_config, config, overrides


def run(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any]:
    """Trains, or resumes, or passes over what is finished; returns the record.

    Raises:
        InputError: bad config, data or checkpoint; nothing was written or lost.
        RunLocked: another process is at this run.
    """
    if record.is_finished(job.run_dir):
        return record.read_record(job.run_dir)
    row_config, config, overrides = prepare(job, options)
    splits = (cache or DataCache()).get(config.train_dataloader.dataset.to_dict(), options)
    _fit_to_data(config, splits, job)
    job.run_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(job.run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunLocked(f"{job.title or job.run_dir}: another process is at this run, passed over") from None
    with lock:
        for leftover in job.run_dir.glob(".*.tmp"):
            leftover.unlink()
        full_epochs = recipe_epochs(config)
        config_hash = recipe_hash(row_config)
        runner, progress = _build_runner(job, options, config, splits, config_hash)
        try:
            runner.train()
        finally:
            progress.close()
        return _finish(job, options, runner, config, splits, config_hash, full_epochs, overrides)


def _fit_to_data(config: Config, splits: DataSplits, job: Job) -> None:
    """Puts into the config what only the data knows, and stops where the two disagree."""
    head, classes = config.model.head, len(splits.train.classes)
    if head.num_classes != classes:
        raise InputError(
            f"{job.config.name} has a head of {head.num_classes} classes and the data has {classes}: "
            "correct num_classes or --data-root"
        )
    counts = [int(count) for count in splits.train.counts]
    if isinstance(head.get("loss"), dict) and "class_counts" in head.loss:
        head.loss["class_counts"] = counts


def _build_runner(
    job: Job, options: Options, config: Config, splits: DataSplits, config_hash: str
) -> tuple[DeviceRunner, ProgressHook]:
    device = torch.device(options.device)
    loader = train_loader(splits.train, config.train_dataloader, job.seed, device)
    if options.epochs is not None:
        shorten(config, options.epochs, len(loader))
    evaluated = {"test": splits.test} if splits.val is None else {"val": splits.val, "test": splits.test}
    precision = config.optim_wrapper.get("precision", "fp32")
    progress = ProgressHook(job.title or f"{job.suite}/{job.row} seed {job.seed}")
    resumed = (job.run_dir / LAST).exists()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        runner = DeviceRunner(
            device=device,
            precision=precision,
            selection="test" if splits.val is None else "val",
            identity={
                "recipe": config_hash,
                "seed": str(job.seed),
                "epochs": str(config.train_cfg.max_epochs),
                "training images": splits.train.fingerprint,
                "precision": precision,
            },
            model=dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()),
            work_dir=str(job.run_dir),
            train_dataloader=loader,
            train_cfg=config.train_cfg.to_dict(),
            optim_wrapper=config.optim_wrapper.to_dict(),
            param_scheduler=config.get("param_scheduler"),
            val_dataloader={
                name: test_loader(images, config.val_dataloader, device) for name, images in evaluated.items()
            },
            val_cfg=dict(type="DeviceValLoop"),
            val_evaluator=[],
            # None takes mmengine's own hook out: each reads the losses at every step or keeps a number for each.
            default_hooks=dict(runtime_info=None, timer=None, sampler_seed=None, logger=None, checkpoint=None),
            custom_hooks=[dict(type="HistoryHook"), progress, dict(type="AtomicCheckpointHook")],
            default_scope="mmpretrain",
            randomness=dict(seed=job.seed, deterministic=options.deterministic),
            env_cfg=dict(cudnn_benchmark=device.type == "cuda" and not options.deterministic),
            experiment_name=f"{job.suite}-{job.row}-{job.run_dir.name}",
            log_level="WARNING",
            visualizer=dict(
                type="UniversalVisualizer",
                vis_backends=[dict(type="TensorboardVisBackend")] if options.tensorboard else [],
            ),
            cfg=config,
        )
    config.dump(str(job.run_dir / "config.py"))
    if resumed:
        print(f"{progress.title}: resuming", flush=True)
    return runner, progress


def _finish(
    job: Job,
    options: Options,
    runner: DeviceRunner,
    config: Config,
    splits: DataSplits,
    config_hash: str,
    full_epochs: int,
    overrides: dict[str, Any],
) -> dict[str, Any]:
    """Evaluates the last and the best epoch in full, saves the test logits and writes the record."""
    device = runner.device
    loader = test_loader(splits.test, config.val_dataloader, device)
    logits = {"last": predict(runner.bare_model, loader, runner.precision).cpu()}
    best = read_checkpoint(job.run_dir / BEST, device)
    runner.bare_model.load_state_dict(best["state_dict"])
    logits["best"] = predict(runner.bare_model, loader, runner.precision).cpu()
    labels, counts = splits.test.labels.cpu(), [int(count) for count in splits.train.counts]
    _save_outputs(job.run_dir / OUTPUTS, logits, labels)
    seconds = sum(row["seconds_train"] for row in runner.history)
    result = {
        **provenance.collect(torch.cuda.get_device_name(device) if device.type == "cuda" else None),
        "suite": job.suite,
        "row": job.row,
        "method": (config.model.head.get("regularizer") or {}).get("type", "none"),
        "backbone": f"{config.model.backbone.type}-{config.model.backbone.get('depth', '')}".strip("-"),
        "dataset": splits.train.name,
        "seed": job.seed,
        "epochs": config.train_cfg.max_epochs,
        "epochs_recipe": full_epochs,
        "overrides": overrides,
        # From what the file holds (float16), so that a later recomputation gives the same figures.
        "metrics": {
            name: metrics.evaluate(values.half().float(), labels, train_counts=counts)
            for name, values in logits.items()
        },
        "best_epoch": runner.best_epoch(),
        "best_on": runner.selection,
        "train_counts": counts,
        "data_fingerprint": {
            name: images.fingerprint
            for name, images in (("train", splits.train), ("val", splits.val), ("test", splits.test))
            if images is not None
        },
        "config_hash": config_hash,
        "device": device.type,
        "precision": runner.precision,
        "wall_seconds": seconds + sum(row["seconds_eval"] for row in runner.history),
        "images_per_second": sum(row["images"] for row in runner.history) / seconds if seconds else None,
        "peak_memory_bytes": _peak_memory(device),
        "stage1": None,
    }
    record.write_record(job.run_dir, result)
    return record.read_record(job.run_dir)


def _save_outputs(path: Path, logits: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
    """Test logits of the last epoch (``logits``) and of the best one (``logits_best``), float16, with the labels."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            logits=logits["last"].half().numpy(),
            logits_best=logits["best"].half().numpy(),
            labels=labels.numpy(),
        )
    temporary.replace(path)


def _peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that tensors took on the device, else the most that the process had resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
