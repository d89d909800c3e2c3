"""What only the images know of a config: classes, counts, the crop of a library's backbone; and whether the two fit."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from mmengine.config import Config

from sar_cls import messages
from sar_cls.engine import dense
from sar_cls.engine.config import FROM_DATA
from sar_cls.engine.recipe import AnyResolved, Resolved
from sar_cls.errors import InputError
from sar_cls.mm.head import build_regularizer
from sar_cls.mm.loaders import DataSplits
from sar_cls.models.library_backbones import build_backbone
from sar_cls.superclasses import superclasses_of


def fit_to_data(resolved: AnyResolved, splits: DataSplits, *, second_stage: bool = False) -> AnyResolved:
    """The same with what only the data knows in a config of its own.

    Args:
        resolved: stays as it is.
        splits: the images.
        second_stage: whether the net is given by a first stage.

    Raises:
        InputError: config and data disagree on the classes, or the crop is larger than the images.
    """
    if resolved.is_dense:
        dense.check_classes(resolved.config, resolved.source, splits.train.classes)
        if not dense.uses_pipelines(resolved.config):
            dense.check_crop(resolved.config, splits.train.image_size)
        config = copy.deepcopy(resolved.config)
        head = dense.heads_of(config)[-1]
        if isinstance(head.get("regularizer"), dict):
            _tell_classes(resolved, head, splits, head.get("channels", 1))
        for _, any_head in dense.titled_heads(config):
            for loss in dense.losses_of(any_head):
                if "class_counts" in loss:
                    loss["class_counts"] = [int(count) for count in splits.train.counts]
        return replace(resolved, config=config)
    config, classes = copy.deepcopy(resolved.config), len(splits.train.classes)
    head = config.model.head
    if not second_stage and {"dataset", "classes"} & set(resolved.overrides):
        head.num_classes = classes
        if "num_classes" in config.data_preprocessor:
            config.data_preprocessor.num_classes = classes
    elif head.num_classes != classes:
        raise InputError(
            f"{resolved.source} has a head of {head.num_classes} classes and the data has {classes}: "
            "correct num_classes or --data-root"
        )
    soft = config.data_preprocessor.get("num_classes")
    if soft not in (None, classes):
        raise InputError(
            f"{resolved.source}: data_preprocessor.num_classes is {soft} and the data has {classes} classes: correct it"
        )
    if not second_stage and "backbone" in resolved.overrides:
        _put_library_backbone(config, resolved.overrides["backbone"], splits.train.image_size)
    crop = config.data_preprocessor.get("crop_size")
    if crop is not None and crop > min(splits.train.image_size):
        height, width = splits.train.image_size
        raise InputError(
            f"a crop of {crop} pixels does not fit into images of {height}x{width}: use a smaller crop_size"
        )
    if isinstance(head.get("loss"), dict) and "class_counts" in head.loss:
        head.loss["class_counts"] = [int(count) for count in splits.train.counts]
    if isinstance(head.get("regularizer"), dict):
        _tell_classes(resolved, head, splits, head.in_channels)
    return replace(resolved, config=config)


def _tell_classes(resolved: Resolved, head: Any, splits: DataSplits, feat_dim: int) -> None:
    """Fills in the names of the classes and their superclasses where the regularizer of a head asks for them.

    Raises:
        InputError: they are not known, or no anchors can be made of them.
    """
    regularizer, names = head.regularizer, list(splits.train.classes)
    if not any(name in regularizer for name in FROM_DATA):
        return
    if "class_names" in regularizer and regularizer["class_names"] is None:
        regularizer["class_names"] = names
    if "superclasses" in regularizer and regularizer["superclasses"] is None:
        regularizer["superclasses"] = superclasses_of(splits.train.name, names)
        if regularizer["superclasses"] is None:
            raise InputError(
                f"{resolved.source}: the superclasses of {splits.train.name} are not known here; give superclasses = [...]"
            )
    try:
        build_regularizer(regularizer.to_dict(), head.num_classes, feat_dim)
    except ValueError as error:
        raise InputError(f"{resolved.source}, regularizer: {str(error).rstrip('.')}") from error


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


def check_batch(resolved: Resolved, images: int) -> None:
    """Refuses a batch larger than the training set: an epoch would be one smaller step, by a learning rate meant for more.

    Where the command line chose other data or less of it, the config is not to blame, and a line says it instead.

    Args:
        resolved: the config and what the command line changed.
        images: in the training set.

    Raises:
        InputError: it is.
    """
    batch = resolved.config.train_dataloader.batch_size
    if batch <= images:
        return
    sentence = f"{resolved.source} trains on batches of {batch} images and the training set has {images}"
    if not {"dataset", "imbalance", "classes", "val_fraction"} & set(resolved.overrides):
        raise InputError(
            f"{sentence}: use a smaller batch_size, in a row set.train_dataloader.batch_size = {max(2, images // 2)}"
        )
    messages.remark(f"{sentence}: every epoch is one step")


def check_accumulation(resolved: Resolved, steps: int) -> None:
    """Refuses gradients that are still being summed up where a checkpoint is made: they are not in it.

    Args:
        resolved: the config, whose ``optim_wrapper.accumulative_counts`` says how many steps make one update.
        steps: from one checkpoint to the next.

    Raises:
        InputError: an update is not complete there, so that a resumed run would be another one.
    """
    number = resolved.config.optim_wrapper.get("accumulative_counts", 1)
    if steps % number:
        raise InputError(
            f"{resolved.source} updates its weights every {number} steps and has {steps} from one checkpoint to the next: "
            "choose accumulative_counts so that it divides that, or the run could not be resumed as it was"
        )
