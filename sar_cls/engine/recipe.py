"""A row's config with the options of the command line applied, and the name that this gives a run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

from sar_cls.engine import dense
from sar_cls.engine.config import recipe_hash, row_config
from sar_cls.engine.config_keys import check_keys
from sar_cls.engine.config_values import check_values
from sar_cls.engine.dense_checks import check_heads
from sar_cls.engine.net_arguments import check_parts
from sar_cls.engine.options import Options
from sar_cls.engine.own_parts import check_loss, check_regularizer
from sar_cls.engine.rate_rules import check_rate_rules
from sar_cls.engine.schedule import counts_iterations, recipe_epochs
from sar_cls.errors import InputError
from sar_cls.mm.second_stage import SECOND_STAGE, hold_of
from sar_cls.official_images import CLASSES
from sar_cls.steps.precision import DEFAULT_PRECISION, precision_of
from sar_cls.suites.rows import Source

_REQUIRED = ("model", "data_preprocessor", "train_dataloader", "val_dataloader", "train_cfg", "optim_wrapper")


AnyResolved = TypeVar("AnyResolved", bound="Resolved")


@dataclass(frozen=True)
class Resolved:
    """A row's config with the options applied. The config is not changed by who gets it: who needs another one copies it.

    Attributes:
        source: what the row runs, for messages.
        config: what is run.
        recipe: hash of the row's config as it stands.
        overrides: what the options changed about the recipe, but for the epochs: name -> value.
        full_epochs: epochs of the recipe, or iterations where it counts these.
        epochs: epochs to run, or iterations.
    """

    source: Source
    config: Config
    recipe: str
    overrides: dict[str, Any]
    full_epochs: int
    epochs: int

    @property
    def precision(self) -> str:
        """How it is run, "fp32" or "bf16"."""
        return precision_of(self.config)

    @property
    def unit(self) -> str:
        """What ``epochs`` counts: "epochs" or "iterations"."""
        return "iterations" if counts_iterations(self.config) else "epochs"

    @property
    def is_dense(self) -> bool:
        """Whether the net gives a class to every pixel."""
        return dense.is_dense(self.config)

    @property
    def data(self) -> dict[str, Any]:
        """What images the config asks for, as :func:`sar_cls.mm.loaders.load_splits` takes it."""
        return dense.data_of(self.config) if self.is_dense else self.config.train_dataloader.dataset.to_dict()


def resolve(source: Source, options: Options, *, second_stage: bool = False) -> Resolved:
    """Reads a row's config and applies the options.

    A second stage has data set and imbalance from its first (see :mod:`sar_cls.engine.first_stage`).

    Raises:
        InputError: the config does not parse, or an option does not fit it.
    """
    config = row_config(source)
    recipe = recipe_hash(config)
    _check_complete(config, source)
    check_keys(config, source)
    check_values(config, source)
    _check_stage(config, source, second_stage)
    overrides: dict[str, Any] = {}
    if dense.is_dense(config):
        dense.check_options(options, source)
        if second_stage:
            pass  # it has its weights from its first one
        elif options.weights == "none":
            overrides |= dense.without_weights(config)
        elif options.weights is None:
            overrides |= dense.weights_of_package(config)
        else:
            dense.without_published_weights(config)
    dataset = config.train_dataloader.dataset
    if options.imbalance == "none" and not second_stage:
        if dataset.get("longtail") is not None:
            dataset.longtail, overrides["imbalance"] = None, "none"
    elif options.imbalance is not None and not second_stage:
        if dataset.get("longtail") is None:
            raise InputError(f"{source.title} is no long-tailed row: leave --imbalance out")
        if float(dataset.longtail["imbalance_factor"]) != float(options.imbalance):
            dataset.longtail["imbalance_factor"] = overrides["imbalance"] = options.imbalance
    if options.dataset is not None and options.dataset != dataset.name and not second_stage:
        dataset.name = overrides["dataset"] = options.dataset
    if options.image_size is not None and not second_stage:
        if dataset.get("name") != "folder":
            raise InputError(
                f"--image-size is for folders of images: {source.title} takes {dense.data_name(config)} as its config says"
            )
        if options.image_size != dataset.get("size"):
            dataset.size = overrides["size"] = options.image_size
    if options.classes is not None and not second_stage:
        whole = CLASSES.get(dataset.get("name"))
        if whole is None:
            raise InputError(
                f"--classes is for CIFAR and CUB-200: {source.title} takes all classes of {dense.data_name(config)}"
            )
        if not 2 <= options.classes <= whole:
            raise InputError(
                f"--classes {options.classes}: {dataset.name} has {whole}; give a number from 2 to {whole}"
            )
        if options.classes != dataset.get("num_classes", whole):
            dataset.num_classes = overrides["classes"] = options.classes
    if options.backbone is not None and not second_stage:
        overrides["backbone"] = options.backbone
        if config.get("weights") is not None:  # a recipe that starts from pre-trained weights: from those of this model
            config.weights = options.backbone
    if options.bn_batch is not None and not second_stage and options.bn_batch != config.get("bn_batch"):
        batch = config.train_dataloader.batch_size
        if options.bn_batch >= batch:
            raise InputError(
                f"--bn-batch {options.bn_batch} is not below the batch of {batch} of {source.title}: leave it "
                "out, batch norm goes over whole batches"
            )
        config.bn_batch = overrides["bn_batch"] = options.bn_batch
    if options.hold is not None and config.model.type == SECOND_STAGE and options.hold != hold_of(config.model):
        config.model.hold = overrides["hold"] = options.hold
    if options.weights is not None and not second_stage and not (options.weights == "none" and dense.is_dense(config)):
        label = _weights_label(options.weights, config.get("weights"))
        config.weights = None if options.weights == "none" else options.weights
        if label is not None:
            overrides["weights"] = label
    if options.val_fraction is not None:
        overrides["val_fraction"] = options.val_fraction
    if second_stage and options.full_epochs and config.train_dataloader.get("batches_per_epoch") is not None:
        config.train_dataloader.batches_per_epoch = None
        overrides["full_epochs"] = True
    if options.precision is not None:
        config.optim_wrapper["precision"] = options.precision
    full, wanted = recipe_epochs(config), _wanted_epochs(config, source, options, second_stage)
    return Resolved(source, config, recipe, overrides, full, full if wanted is None or full == 0 else wanted)


def _wanted_epochs(config: Config, source: Source, options: Options, second_stage: bool) -> int | None:
    """Epochs, or iterations, that the command line asks for; None for the recipe's own number.

    Raises:
        InputError: it counts in the other unit, or in iterations that do not end with an evaluation.
    """
    epochs = options.stage2_epochs if second_stage else options.epochs
    iterations = options.stage2_iterations if second_stage else options.iterations
    if not counts_iterations(config):
        if iterations is not None:
            raise InputError(f"{source.title} counts epochs: give --epochs instead of --iterations")
        return epochs
    if epochs is not None:
        raise InputError(f"{source.title} counts iterations: give --iterations instead of --epochs")
    interval = config.train_cfg["val_interval"]
    if iterations is not None and iterations > interval and iterations % interval:
        raise InputError(
            f"{source.title} is evaluated every {interval} iterations: give a multiple of it as --iterations, or fewer"
        )
    return iterations


def _weights_label(source: str, published: str | None) -> str | None:
    """How a record names weights that were given: by content, since another file can have the same name.

    The very file that the config's address names, recognised by the hash in that address, changes nothing about the recipe: None.
    """
    file = Path(source)
    if not file.is_file():
        return source
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    address = re.search(r"-([0-9a-f]{8})\.\w+$", published or "")
    return None if address is not None and address.group(1) == digest else f"{file.stem}-{digest}"


def _check_complete(config: Config, source: Source) -> None:
    """Finds what is wrong with a row's config before anything is loaded or written."""
    missing = [key for key in _REQUIRED if config.get(key) is None]
    if missing:
        raise InputError(f"{source} has no {missing[0]}: add it, or inherit it by _base_")
    if dense.is_dense(config):
        check_heads(config, source)
        return
    head = config.model.get("head") or {}
    classes = head.get("num_classes", 2)
    built = check_regularizer(head.get("regularizer"), classes, head.get("in_channels", 1), source)
    try:
        check_parts(config)
        check_rate_rules(config.optim_wrapper.get("paramwise_cfg"), head, built)
    except ValueError as error:
        raise InputError(f"{source}, {error}") from error
    check_loss(head.get("loss"), classes, source)


def is_second_stage(config: Config) -> bool:
    """Whether a config trains, or corrects, what a first stage has trained."""
    return config.get("posthoc") is not None or str(config.model.get("type")).startswith("SecondStage")


def _check_stage(config: Config, source: Source, second_stage: bool) -> None:
    """Whether a row that comes after another one runs a second stage, and one that does not a first.

    Raises:
        InputError: it is the other way round. A first stage would be trained anew in place of the second, or a net that is held
            as it was initialized be taken for a trained one.
    """
    is_second = is_second_stage(config)
    if is_second and not second_stage:
        raise InputError(
            f"{source} is a second stage: name the row of its first stage by after, or give stage2.py its run by --stage1"
        )
    if second_stage and not is_second:
        raise InputError(
            f"{source} comes after another row and its config trains a whole net: leave after out, or name the config of a second "
            "stage (model.type SecondStageClassifier, or posthoc)"
        )


def run_name(seed: int, options: Options, resolved: Resolved) -> str:
    """Name of a run's folder: the seed, and what the command line changed."""
    parts = [f"seed{seed}"]
    if resolved.epochs != resolved.full_epochs:
        parts.append(f"{resolved.unit}{resolved.epochs}")
    short = {
        "imbalance": "if",
        "val_fraction": "val",
        "dataset": "",
        "backbone": "",
        "weights": "from_",
        "bn_batch": "bn",
    }
    for name, value in resolved.overrides.items():
        text = (
            "" if value is True else f"{value:g}" if isinstance(value, float) else re.sub(r"[^\w.]+", "_", str(value))
        )
        parts.append(f"{short.get(name, name)}{text}")
    if resolved.precision != DEFAULT_PRECISION:
        parts.append(resolved.precision)
    return "-".join(parts)


def second_stage_name(stage1_dir: Path, options: Options, resolved: Resolved) -> str:
    """Name of a second stage's folder: that of its first stage, and what was changed about the second stage itself."""
    parts = [stage1_dir.name]
    if resolved.epochs != resolved.full_epochs:
        parts.append(f"then{resolved.epochs}")
    if "full_epochs" in resolved.overrides:
        parts.append("full")
    if "hold" in resolved.overrides:
        parts.append(resolved.overrides["hold"])
    return "-".join(parts)
