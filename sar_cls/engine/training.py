"""Trains a config with mmengine's Runner and evaluates the last and the best epoch."""

from __future__ import annotations

import copy
import gc
import json
import os
import warnings
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_dist_info, is_distributed, is_main_process
from torch import Tensor, nn

from sar_cls import messages
from sar_cls.engine import dense, dense_results, dense_runner
from sar_cls.engine.features import NetFeatures, anchors_in, keep_features, net_features
from sar_cls.engine.fitting import check_accumulation
from sar_cls.engine.net_checks import check_last_batch
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.readings import in_record, remarks
from sar_cls.engine.results import outcome
from sar_cls.engine.schedule import shorten
from sar_cls.files import replacing
from sar_cls.memory import allocating
from sar_cls.mm.handover import Handover
from sar_cls.mm.head import head_of
from sar_cls.mm.loaders import IMAGES, DataSplits, test_loader, train_loader
from sar_cls.mm.loops import predict, predict_with_features
from sar_cls.mm.progress import ProgressHook
from sar_cls.mm.runner import DeviceRunner
from sar_cls.mm.second_stage import first_stage_weights
from sar_cls.regularizers.shared_state import broadcast_state
from sar_cls.runs.checkpoint import read_own
from sar_cls.runs.folder import BEST, CONFIG, LAST
from sar_cls.steps.allocator import keep_freed_memory
from sar_cls.steps.modes import DEFAULT_MODE
from sar_cls.steps.precision import exact_float32
from sar_cls.weights import load_weights


def execute(planned: PlannedRun, splits: DataSplits) -> dict[str, Any]:
    """Trains to the last epoch, from ``last.pth`` where there is one; saves the test logits and returns the record's fields.

    Several processes of one run all call it, inside their process group; the first one alone writes, and for the others there is
    nothing to return.

    Args:
        planned: the run, fitted to the images.
        splits: the images.
    """
    exact_float32()
    device = torch.device(planned.options.device)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        _start_with_a_free_device(device)
    runner, progress = build_runner(planned, splits)
    try:
        with allocating(f"training {_work(runner)}", "use a smaller batch_size, image or backbone"):
            try:
                runner.train()
            finally:
                progress.close()
            evaluate: Any = dense_results.evaluate if planned.is_dense else _logits
            features: NetFeatures | None = None
            last: dict[str, Any]
            if planned.is_dense:
                last = evaluate(runner)
            else:
                last, features = _last_epoch(runner, with_features=planned.options.features)
            if is_main_process():
                runner.bare_model.load_state_dict(read_own(planned.run_dir / BEST, runner.identity)["state_dict"])
            if runner.distributed:
                broadcast_state(runner.bare_model)
            best = evaluate(runner)
    finally:
        runner.close()
    if not is_main_process():
        return {}
    said = {split: {"last": last[split], "best": best[split]} for split in last}
    finish: Any = dense_results.outcome if planned.is_dense else outcome
    result = finish(planned, splits, said, runner.device, runner.precision, runner.history, runner.best_epoch())
    extra: dict[str, Any] = {"mode": runner.train_loop.step.mode, "memory_format": runner.memory_format}
    if planned.unit != "epochs":
        extra["unit"] = planned.unit  # what the record's epochs are
    if features is not None:
        labels = splits.test.labels, splits.train.labels
        extra |= keep_features(planned.run_dir, runner.run_id, features, last["test"], *labels)
    readings = getattr(getattr(head_of(runner.bare_model), "regularizer", None), "readings", ())
    for remark in remarks(runner.history, readings):
        messages.remark(f"{progress.title}: {remark}")
    if len(runner.threads_used) > 1:
        result["machine"]["threads_used"] = runner.threads_used
    if len(runner.cpu_capabilities_used) > 1:
        result["machine"]["cpu_capabilities_used"] = runner.cpu_capabilities_used
    extra |= in_record(runner.history, readings) | _processes(runner)
    if runner.lost_best_epoch is not None:
        extra |= {"lost_best_epoch": runner.lost_best_epoch, "best_searched_from": runner.best_from}
    return {**result, "run_id": runner.run_id, "extra": extra}


def _processes(runner: DeviceRunner) -> dict[str, Any]:
    """What the record says of the processes that have trained a run together; nothing of a single one."""
    if not runner.distributed and len(runner.processes_used) == 1:
        return {}
    images = runner.norm_images
    batch = runner.train_dataloader.batch_size
    said: dict[str, Any] = {
        "processes": runner.world_size,
        "batch_per_process": batch // runner.world_size,
        "sync_bn": runner.sync_bn,
        "batch_norm_images": images,  # that batch norm normalises together; None for a net without
        "local_statistics": runner.statistics_parts > 1,
    }
    if len(runner.processes_used) > 1:
        said["processes_used"] = runner.processes_used
    return {"distributed": said}


def _trackers(planned: PlannedRun) -> list[dict[str, Any]]:
    """The trackers that were asked for; loaded for those who asked."""
    options = planned.options
    if not is_main_process() or (not options.tensorboard and options.mlflow is None):
        return []
    from sar_cls.mm.trackers import vis_backends

    facts = {
        "suite": planned.suite,
        "row": planned.row,
        "seed": planned.seed,
        "epochs": planned.epochs,
        "precision": planned.precision,
        "config_hash": planned.recipe,
        **planned.overrides,
    }
    name = f"{planned.row}/{planned.run_dir.name}"
    return vis_backends(
        tensorboard=options.tensorboard, mlflow=options.mlflow, suite=planned.suite, name=name, facts=facts
    )


def _work(runner: DeviceRunner) -> str:
    """What a step works on, in words."""
    loader, model = runner.train_dataloader, runner.bare_model
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    net = f"{type(model.backbone).__name__} ({millions:.3g} M parameters)"
    size = getattr(loader.image_set, "image_size", None)  # mmseg's data sets have images of many
    return f"{net} on batches of {loader.batch_size} images" + (f" of {size[0]}x{size[1]}" if size else "")


def _start_with_a_free_device(device: torch.device) -> None:
    """Frees what the runs before this one in the process have left, so that the recorded peak of memory is this run's."""
    if device.index is not None:
        torch.cuda.set_device(device)  # else capturing a graph would open a context on GPU 0 as well
    gc.collect()  # a runner and its loops refer to each other
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def _last_epoch(runner: DeviceRunner, *, with_features: bool) -> tuple[dict[str, Tensor], NetFeatures | None]:
    """The logits of each set, and where they are asked for the features that the run keeps."""
    if not with_features:
        return _logits(runner), None
    model, loaders = runner.bare_model, runner.val_loop.loaders
    shared = runner.distributed
    found = {
        split: predict_with_features(model, loader, runner.precision, shared=shared)
        for split, loader in loaders.items()
    }
    train = runner.train_dataloader.image_set  # on the device where it fits there
    loader = test_loader(train, {"batch_size": loaders["test"].batch_size}, runner.device)
    anchors = anchors_in(model.state_dict())
    features = net_features(model, found["test"][1], loader, runner.precision, anchors, shared=shared)
    return {split: logits for split, (logits, _) in found.items()}, features


def _logits(runner: DeviceRunner) -> dict[str, Tensor]:
    """Logits [n, C] of each set that is evaluated, by its name."""
    loaders = runner.val_loop.loaders
    model, shared = runner.bare_model, runner.distributed
    return {split: predict(model, loader, runner.precision, shared=shared) for split, loader in loaders.items()}


def evaluated_sets(splits: DataSplits) -> dict[str, Any]:
    """The sets that are evaluated, by name; the first one chooses the best epoch."""
    return {"test": splits.test} if splits.val is None else {"val": splits.val, "test": splits.test}


def _parts(planned: PlannedRun, config: Config, splits: DataSplits, device: torch.device) -> dict[str, Any]:
    """What a runner of a classifier has otherwise than one of a segmentation net: loaders, loops, scope."""
    loader = train_loader(splits.train, config.train_dataloader, planned.seed, device, part=get_dist_info())
    shorten(config, planned.epochs, len(loader))
    sets = evaluated_sets(splits)
    return dict(
        train_dataloader=loader,
        train_cfg=config.train_cfg.to_dict(),
        val_dataloader={name: test_loader(part, config.val_dataloader, device) for name, part in sets.items()},
        val_cfg=dict(type="DeviceValLoop"),
        # Held-out images of a long tail have one as well, and the test images have none: plain accuracy would pick for the head.
        headline="top1" if splits.val is None else "macro",
        default_scope="mmpretrain",
    )


def build_runner(planned: PlannedRun, splits: DataSplits) -> tuple[DeviceRunner, ProgressHook]:
    """The runner of a run, ready for ``train()``, and the hook that shows its progress; arguments as for :func:`execute`."""
    options, run_dir, first = planned.options, planned.run_dir, planned.first
    # What the length of the schedule and mmengine change is this runner's own.
    config, device = copy.deepcopy(planned.config), torch.device(options.device)
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else some versions of torch refuse cuBLAS
    if planned.is_dense:
        parts = dense_runner.parts(planned, config, splits, device)
    else:
        parts = _parts(planned, config, splits, device)
    whole = planned.unit == "epochs"
    check_accumulation(planned, len(parts["train_dataloader"]) if whole else config.train_cfg.val_interval)
    preprocessor = config.data_preprocessor.to_dict()
    if options.memory_format != "channels_last" and not (planned.is_dense and dense.uses_pipelines(config)):
        preprocessor["memory_format"] = options.memory_format
    identity = {
        "recipe": planned.recipe,
        "seed": str(planned.seed),
        "epochs": str(planned.epochs),
        **{IMAGES[name]: fingerprint for name, fingerprint in splits.fingerprints.items()},
        "precision": planned.precision,
        "options": json.dumps(planned.overrides, sort_keys=True),
    }
    if first is not None:
        identity["first stage"] = first.record["run_id"]
    is_resumed = (run_dir / LAST).exists()
    if is_resumed:
        read_own(run_dir / LAST, identity)  # a foreign run stops here, before anything of it is overwritten
    progress, is_first = ProgressHook(planned.title), is_main_process()
    hooks: list[Any] = [dict(type="HistoryHook"), *([progress] if is_first else []), dict(type="AtomicCheckpointHook")]

    def initialize(model: nn.Module) -> None:
        if first is not None:
            with_classifier = config.get("continue_classifier", True)
            weights = first_stage_weights(first.state_dict, model, str(first.folder), with_classifier=with_classifier)
            model.load_state_dict(weights, strict=False)
        elif config.get("weights") is not None:
            messages.remark(f"{progress.title}: {load_weights(model, config.weights)}")

    building = allocating("building the network", "use a smaller backbone")
    with building, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Setting (OMP|MKL)_NUM_THREADS")  # of several processes
        runner = DeviceRunner(
            device=device,
            precision=planned.precision,
            mode=options.mode or DEFAULT_MODE,
            memory_format=options.memory_format,
            launcher="pytorch" if is_distributed() else "none",
            bn_batch=config.get("bn_batch"),
            sync_bn=options.sync_bn,
            local_statistics=options.local_statistics,
            selection="test" if splits.val is None else "val",
            identity=identity,
            initialize=initialize,
            # mmseg's segmentors read their test_cfg by attribute.
            model=ConfigDict(config.model.to_dict(), data_preprocessor=preprocessor),
            work_dir=str(run_dir),
            optim_wrapper=config.optim_wrapper.to_dict(),
            param_scheduler=config.get("param_scheduler"),
            val_evaluator=[],
            **parts,
            # None takes mmengine's own hook out: each reads the losses at every step or keeps a number for each.
            default_hooks=dict(runtime_info=None, timer=None, sampler_seed=None, logger=None, checkpoint=None),
            custom_hooks=hooks,
            randomness=dict(seed=planned.seed, deterministic=options.deterministic),
            env_cfg=dict(cudnn_benchmark=device.type == "cuda" and not options.deterministic),
            experiment_name=f"{planned.suite}-{planned.row}-{run_dir.name}",
            log_level="ERROR",
            visualizer=dict(type="UniversalVisualizer", vis_backends=_trackers(planned)),
            cfg=config,
        )
    if not planned.is_dense and not runner.sync_bn:
        check_last_batch(runner.bare_model, runner.train_dataloader, runner.world_size)
    if not is_first:
        return runner, progress
    with replacing(run_dir / CONFIG) as temporary:
        temporary.write_text(config.pretty_text, encoding="utf-8")
    # mmseg's own data sets have images of many sizes.
    Handover.of(config, getattr(splits.train, "image_size", None), options.data_root).write(run_dir)
    if is_resumed:
        messages.remark(f"{progress.title}: resuming")
    return runner, progress
