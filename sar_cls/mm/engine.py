"""One run from its config to its record: what to run, whether it still has to run, and under which lock."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
from mmengine.config import Config

from sar_cls.errors import InputError, RunLocked
from sar_cls.mm import posthoc, training
from sar_cls.mm.checkpoint import LAST, read_checkpoint
from sar_cls.mm.config import load_config, recipe_hash
from sar_cls.mm.head import build_regularizer
from sar_cls.mm.loaders import DataSplits, load_splits
from sar_cls.mm.options import Options
from sar_cls.mm.schedule import recipe_epochs
from sar_cls.models.backbones import build_backbone
from sar_cls.reporting import record

CONFIG = "config.py"
_MIXUP = ("mixup_alpha", "num_classes")
_REQUIRED = ("model", "data_preprocessor", "train_dataloader", "val_dataloader", "train_cfg", "optim_wrapper")


@dataclass
class DataCache:
    """The image sets of the last run of this process, so that a suite reads them once."""

    sets: dict[str, DataSplits] = field(default_factory=dict)

    def get(self, config: dict[str, Any], options: Options) -> DataSplits:
        """The splits that a config's ``train_dataloader.dataset`` names."""
        key = repr((sorted(config.items()), options.data_root, options.val_fraction))
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


@dataclass(frozen=True)
class Resolved:
    """A row's config with the options applied.

    Attributes:
        config: what is run.
        recipe: hash of the row's config as it stands.
        overrides: what the options changed about the recipe, but for the epochs: name -> value.
        full_epochs: epochs of the recipe.
        epochs: epochs to run.
    """

    config: Config
    recipe: str
    overrides: dict[str, Any]
    full_epochs: int
    epochs: int


def resolve(path: Path, options: Options, *, second_stage: bool = False) -> Resolved:
    """Reads a row's config and applies the options; a second stage has data set and imbalance from its first (see ``run``).

    Raises:
        InputError: the config does not parse, or an option does not fit it.
    """
    config = load_config(path)
    recipe = recipe_hash(config)
    _check_complete(config, path)
    overrides: dict[str, Any] = {}
    dataset = config.train_dataloader.dataset
    if options.imbalance is not None and not second_stage:
        if dataset.get("longtail") is None:
            raise InputError(f"{path.parent.name}/{path.stem} is no long-tailed row: leave --imbalance out")
        if float(dataset.longtail["imbalance_factor"]) != float(options.imbalance):
            dataset.longtail["imbalance_factor"] = overrides["imbalance"] = options.imbalance
    if options.dataset is not None and options.dataset != dataset.name and not second_stage:
        dataset.name = overrides["dataset"] = options.dataset
    if options.classes is not None and not second_stage:
        if dataset.name != "cub200":
            raise InputError(
                f"--classes is for CUB-200: {path.parent.name}/{path.stem} takes all classes of {dataset.name}"
            )
        if options.classes != dataset.get("num_classes", 200):
            dataset.num_classes = overrides["classes"] = options.classes
    if options.backbone is not None and not second_stage:
        overrides["backbone"] = options.backbone
        if config.get("weights") is not None:  # a recipe that starts from pre-trained weights: from those of this model
            config.weights = options.backbone
    if options.weights is not None and not second_stage:
        config.weights = None if options.weights == "none" else options.weights
        overrides["weights"] = Path(options.weights).name
    if options.val_fraction is not None:
        overrides["val_fraction"] = options.val_fraction
    if second_stage and options.full_epochs and config.train_dataloader.get("batches_per_epoch") is not None:
        config.train_dataloader.batches_per_epoch = None
        overrides["full_epochs"] = True
    if options.precision is not None:
        config.optim_wrapper["precision"] = options.precision
    full = recipe_epochs(config)
    wanted = options.stage2_epochs if second_stage else options.epochs
    return Resolved(config, recipe, overrides, full, full if wanted is None or full == 0 else wanted)


def _check_complete(config: Config, path: Path) -> None:
    """Finds what is wrong with a row's config before anything is loaded or written."""
    missing = [key for key in _REQUIRED if config.get(key) is None]
    if missing:
        raise InputError(f"{path} has no {missing[0]}: add it, or inherit it by _base_")
    head = config.model.get("head") or {}
    try:
        build_regularizer(head.get("regularizer"), head.get("num_classes", 2), head.get("in_channels", 1))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, regularizer: {str(error).rstrip('.')}; correct the config") from error


def run_name(seed: int, options: Options, resolved: Resolved) -> str:
    """Name of a run's folder: the seed, and what the command line changed."""
    parts = [f"seed{seed}"]
    if resolved.epochs != resolved.full_epochs:
        parts.append(f"epochs{resolved.epochs}")
    short = {"imbalance": "if", "val_fraction": "val", "dataset": "", "backbone": ""}
    for name, value in resolved.overrides.items():
        if name == "weights":  # part of the record, not of the name
            continue
        text = "" if value is True else f"{value:g}" if isinstance(value, float) else str(value).replace(":", "_")
        parts.append(f"{short.get(name, name)}{text}")
    if options.precision is not None:
        parts.append(options.precision)
    return "-".join(parts)


def second_stage_name(stage1_dir: Path, options: Options, resolved: Resolved) -> str:
    """Name of a second stage's folder: that of its first stage, and what was changed about the second stage itself."""
    parts = [stage1_dir.name]
    if resolved.epochs != resolved.full_epochs:
        parts.append(f"then{resolved.epochs}")
    if "full_epochs" in resolved.overrides:
        parts.append("full")
    return "-".join(parts)


def run(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any]:
    """Trains, or resumes, or passes over what is finished; returns the record.

    Raises:
        InputError: bad config, data or checkpoint; nothing was written or lost.
        RunLocked: another process is at this run, or at the first stage that it waits for.
    """
    if record.is_finished(job.run_dir):
        return record.read_record(job.run_dir)
    resolved = resolve(job.config, options, second_stage=job.stage1_dir is not None)
    if job.stage1_dir is not None:
        if not record.is_finished(job.stage1_dir) and _is_locked(job.stage1_dir):
            raise RunLocked(f"{job.title or job.run_dir}: another process is at its first stage, passed over")
        resolved = _like_first_stage(resolved, job.stage1_dir)
        options = replace(options, val_fraction=resolved.overrides.get("val_fraction"))
    splits = (cache or DataCache()).get(resolved.config.train_dataloader.dataset.to_dict(), options)
    _fit_to_data(resolved, splits, job)
    stage1 = None if job.stage1_dir is None else FirstStage.read(job.stage1_dir, splits)
    fresh = not job.run_dir.exists()
    job.run_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(job.run_dir / ".lock").acquire(timeout=0)
    except filelock.Timeout:
        raise RunLocked(f"{job.title or job.run_dir}: another process is at this run, passed over") from None
    with lock:
        if record.is_finished(job.run_dir):  # the other process ended between the look and the lock
            return record.read_record(job.run_dir)
        for leftover in job.run_dir.glob(".*.tmp"):
            leftover.unlink()
        method = posthoc if resolved.config.get("posthoc") else training
        try:
            result = method.execute(job, options, resolved, splits, stage1)
        except InputError:
            if fresh and not (job.run_dir / LAST).exists():  # bad weights, say: no epoch was trained that could be lost
                shutil.rmtree(job.run_dir, ignore_errors=True)
            raise
        result["stage1"] = None if stage1 is None else record.stage1_reference(stage1.record)
        record.write_record(job.run_dir, result)
    return record.read_record(job.run_dir)


def _is_locked(folder: Path) -> bool:
    """Whether a process is at the run in ``folder``."""
    if not (folder / ".lock").exists():
        return False
    try:
        with filelock.FileLock(folder / ".lock").acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _put_library_backbone(config: Config, name: str, image_size: tuple[int, int]) -> None:
    """Replaces a config's backbone by one of timm or torchvision, with that model's own mean, std and crop size.

    The crop is at most the image; a model of one fixed size, such as a vision transformer, is built for the crop.
    """
    info = build_backbone(name, num_classes=0)
    crop = min(*info.input_size, *image_size)
    size_argument = "image_size" if name.startswith("torchvision:") else "img_size"
    fixed = {size_argument: crop} if info.fixed_input_size and crop != info.input_size[0] else {}
    config.model.backbone = dict(type="LibraryBackbone", name=name, **fixed)
    config.model.neck = None
    config.model.head.in_channels = info.feat_dim
    config.data_preprocessor.update(mean=list(info.mean), std=list(info.std))
    if crop < min(image_size):
        config.data_preprocessor.crop_size = crop
    else:
        config.data_preprocessor.pop("crop_size", None)


def _like_first_stage(resolved: Resolved, folder: Path) -> Resolved:
    """A second stage's config with the data and the net of its first stage, whatever suite that was from.

    Raises:
        InputError: there is no finished first stage in ``folder``.
    """
    first, config = record.read_record(folder), resolved.config
    before = load_config(folder / CONFIG)
    config.train_dataloader.dataset = before.train_dataloader.dataset
    config.model.backbone, config.model.neck = before.model.backbone, before.model.get("neck")
    config.pop("weights", None)
    config.model.head.num_classes = before.model.head.num_classes
    config.model.head.in_channels = before.model.head.in_channels
    # All of the preprocessing but mixup, which belongs to the first stage.
    config.data_preprocessor = {key: value for key, value in before.data_preprocessor.items() if key not in _MIXUP}
    inherited = {
        key: value for key, value in first["overrides"].items() if key in ("imbalance", "dataset", "val_fraction")
    }
    return replace(resolved, overrides={**inherited, **resolved.overrides})


@dataclass(frozen=True)
class FirstStage:
    """The finished run that a second stage starts from: its record and the weights of its last epoch."""

    record: dict[str, Any]
    state_dict: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, splits: DataSplits) -> FirstStage:
        """Reads the run in ``folder``.

        Raises:
            InputError: it is not finished, damaged, a second stage itself, or was trained on other images.
        """
        found = record.read_record(folder)
        if found["stage"] != 1:
            raise InputError(f"{folder} is a second stage itself: give the run of a first stage")
        if found["data_fingerprint"]["train"] != splits.train.fingerprint:
            raise InputError(
                f"{folder} was trained on other images than the second stage would be: give the same --data-root and imbalance"
            )
        return cls(found, read_checkpoint(folder / LAST)["state_dict"])


def _fit_to_data(resolved: Resolved, splits: DataSplits, job: Job) -> None:
    """Puts into the config what only the data knows, and stops where the two disagree."""
    config, classes = resolved.config, len(splits.train.classes)
    head = config.model.head
    if job.stage1_dir is None and {"dataset", "classes"} & set(resolved.overrides):
        head.num_classes = classes
        if "num_classes" in config.data_preprocessor:
            config.data_preprocessor.num_classes = classes
    elif head.num_classes != classes:
        raise InputError(
            f"{job.config.name} has a head of {head.num_classes} classes and the data has {classes}: "
            "correct num_classes or --data-root"
        )
    if job.stage1_dir is None and "backbone" in resolved.overrides:
        _put_library_backbone(config, resolved.overrides["backbone"], splits.train.image_size)
    crop = config.data_preprocessor.get("crop_size")
    if crop is not None and crop > min(splits.train.image_size):
        height, width = splits.train.image_size
        raise InputError(
            f"a crop of {crop} pixels does not fit into images of {height}x{width}: use a smaller crop_size"
        )
    if isinstance(head.get("loss"), dict) and "class_counts" in head.loss:
        head.loss["class_counts"] = [int(count) for count in splits.train.counts]
