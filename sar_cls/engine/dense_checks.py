"""What is wrong with the net of a segmentation config, found before anything is loaded or written."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from sar_cls.data import VOID
from sar_cls.data.mask_augment import MaskAugmentation
from sar_cls.engine.dense import auxiliary_heads_of, heads_of, losses_of, titled_heads, uses_pipelines
from sar_cls.engine.net_arguments import check_part, check_parts
from sar_cls.engine.own_parts import check_regularizer
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

# What a sampler of pixels gets from its head.
_CONTEXT: dict[str, Any] = {"sampler": dict(default_args=dict(context=None))}


def check_heads(config: Config, source: Source) -> None:
    """Finds what is wrong with the net of a config before anything is loaded or written.

    Raises:
        InputError: mmsegmentation is not installed, a regularizer or argument that is not known, or a head that takes none.
    """
    # Says which extra, where there is no mmsegmentation.
    from sar_cls.mm.seg import HEADS, build_classifier, check_entries

    heads, is_list = heads_of(config), isinstance(config.model["decode_head"], (list, tuple))
    kind = config.model.get("type")
    if kind in ("EncoderDecoder", "CascadeEncoderDecoder") and is_list != (kind == "CascadeEncoderDecoder"):
        raise InputError(
            f"{source}: the decode_head of {kind} is {'one head' if is_list else 'a list of heads'}; write it so"
        )
    for name in ("regularizer", "classifier"):
        if any(head.get(name) is not None for head in auxiliary_heads_of(config)):
            raise InputError(f"{source}: an auxiliary head is left alone; move the {name} to decode_head")
        if any(head.get(name) is not None for head in heads[:-1]):
            raise InputError(f"{source}: in a cascade the last head is regularized; move the {name} there")
        kind = heads[-1].get("type")
        if heads[-1].get(name) is not None and kind not in HEADS:
            known = f"Regularized{kind}"
            hint = f"write {known}" if known in HEADS else f"heads with one are {', '.join(HEADS)}"
            raise InputError(f"{source}: {kind} takes no {name}; {hint}")
    for title, part in titled_heads(config):
        _check_num_classes(title, part.get("num_classes"), source)
    _check_labels(config, source)
    if not uses_pipelines(config):
        _check_takes_masks(config, source)
    _check_augmentation(config, source)
    _check_normalization(config, source)
    _check_test_cfg(config, source)
    _check_losses(config, source)
    head = heads[-1]
    regularizer = head.get("regularizer")
    check_regularizer(regularizer, head.num_classes, head.get("channels", 1), source)
    try:
        build_classifier(head.get("classifier"), head.num_classes, head.get("channels", 1))
        check_entries(
            regularizer,
            head.get("classifier"),
            head.num_classes,
            head.get("out_channels"),
            head.get("ignore_index", VOID),
        )
        check_parts(config, scope="mmseg", parts=_parts(config))
    except ValueError as error:
        raise InputError(f"{source}, {error}") from error


def _check_num_classes(title: str, given: Any, source: Source) -> None:
    if given is None:
        raise InputError(f"{source}: {title} has no num_classes; add it")
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InputError(
            f"{source}: {title} has num_classes {given!r}; give a whole number of at least 1, without quotes"
        )


def _check_takes_masks(config: Config, source: Source) -> None:
    """Whether the net takes masks as one tensor, as the batches of images that are held in memory have them.

    mmseg's own heads take lists of samples, and so does its cascade: they would fail in the first step.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.registry import MODELS

    from sar_cls.mm.seg import HEADS

    if isinstance(config.model["decode_head"], (list, tuple)):
        raise InputError(
            f"{source}: a cascade is trained by mmseg's pipelines alone, and the images of this data set are held in memory; "
            "give one decode_head"
        )
    for title, head in titled_heads(config):
        name = head.get("type")
        kind = name if isinstance(name, type) else MODELS.module_dict.get(str(name).removeprefix("mmseg."))
        own = getattr(kind, "_stack_batch_gt", None)
        if kind is None or own not in (None, BaseDecodeHead._stack_batch_gt):
            continue  # unknown, which is said elsewhere, or it knows what to do
        known = f"Regularized{kind.__name__}"
        hint = f"write {known}" if known in HEADS else f"heads that do are {', '.join(HEADS)}"
        raise InputError(f"{source}: {title} {kind.__name__} takes no masks of images that are held in memory; {hint}")


def _check_augmentation(config: Config, source: Source) -> None:
    """Whether what is drawn is what :class:`sar_cls.data.mask_augment.MaskAugmentation` takes; pipelines have their own."""
    given = config.data_preprocessor
    for name, kind, wanted in (
        ("crop_size", int, "[height, width] in pixels"),
        ("scale", (int, float), "[smallest, largest] factor"),
    ):
        if given.get(name) is not None and not _is_pair(given[name], kind):
            raise InputError(f"{source}: {name} of data_preprocessor is {given[name]!r}: give {wanted}")
    if given.get("type") != "MaskBatchPreprocessor":
        return
    if given.get("crop_size") is None:
        raise InputError(f"{source}: data_preprocessor has no crop_size: give [height, width] in pixels")
    chosen: dict[str, Any] = {
        name: tuple(given[name]) if name in ("crop_size", "scale") else given[name]
        for name in ("crop_size", "scale", "flip", "photometric", "cat_max_ratio")
        if name in given
    }
    try:
        MaskAugmentation(**chosen)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}, data_preprocessor: {error}: correct the config") from error


def _is_pair(value: Any, kind: type | tuple[type, ...]) -> bool:
    is_two = isinstance(value, (list, tuple)) and len(value) == 2
    return is_two and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)


def _check_normalization(config: Config, source: Source) -> None:
    """Whether mean and std are of three channels, as the images are, and no channel is divided by 0 or less."""
    given, is_own = config.data_preprocessor, config.data_preprocessor.get("type") == "MaskBatchPreprocessor"
    for name, least in (("mean", -math.inf), ("std", 0.0)):
        value = given.get(name)
        if value is None and not is_own:
            continue  # mmseg's own then leaves the pixels as they are
        is_three = isinstance(value, (list, tuple)) and len(value) == 3
        if not is_three or not all(
            isinstance(item, (int, float)) and not isinstance(item, bool) and least < item < math.inf for item in value
        ):
            above = " above 0" if name == "std" else ""
            raise InputError(
                f"{source}: {name} of data_preprocessor is {value!r}: give a number{above} for each of 3 channels"
            )


def _check_test_cfg(config: Config, source: Source) -> None:
    """Whether the evaluation knows how: whole images, or windows of a size at a distance that leaves no gaps."""
    given = config.model.get("test_cfg")
    mode = given.get("mode") if isinstance(given, dict) else None
    if mode not in ("whole", "slide"):
        raise InputError(
            f'{source}: test_cfg of the model is {given!r}: write dict(mode="whole") or dict(mode="slide", ...)'
        )
    if mode == "whole":
        return
    for name in ("crop_size", "stride"):
        if not _is_pair(given.get(name), int) or min(given[name]) < 1:
            raise InputError(
                f"{source}: {name} of test_cfg is {given.get(name)!r}: windows need [height, width] in pixels; give it"
            )
    if any(step > side for step, side in zip(given["stride"], given["crop_size"], strict=True)):
        raise InputError(
            f"{source}: windows of {given['crop_size']} pixels at a stride of {given['stride']} leave pixels out: give a smaller "
            "stride in test_cfg"
        )


def _check_losses(config: Config, source: Source) -> None:
    """Whether the losses and samplers of pixels of all heads are there and take what they are given.

    Losses are built for a look at them; class counts are those of images that are not read yet.
    """
    from mmseg.registry import MODELS, TASK_UTILS

    with DefaultScope.overwrite_default_scope("mmseg"), torch.random.fork_rng(devices=[]):
        for title, head in titled_heads(config):
            entries = [("loss_decode", MODELS, loss) for loss in losses_of(head)]
            if head.get("sampler") is not None:
                entries.append(("sampler", TASK_UTILS, head["sampler"]))
            for name, registry, entry in entries:
                if not isinstance(entry, dict) or entry.get("type") is None:
                    raise InputError(f"{source}: {name} of {title} is {entry!r}: write dict(type=...)")
                try:
                    check_part(name, registry, entry, filled_in=("context",) if name == "sampler" else ())
                except ValueError as error:
                    raise InputError(f"{source}, {title}, {error}") from error
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of mmseg, about what it would rather have
                        registry.build(_with_counts(entry, head), **_CONTEXT.get(name, {}))
                except (AssertionError, OSError, TypeError, ValueError) as error:
                    said = " ".join(str(error).split()).rstrip(".") or "its arguments do not go together"
                    raise InputError(f"{source}, {title}, {name}: {said}; correct the config") from error


def _with_counts(entry: Any, head: Any) -> dict[str, Any]:
    values = dict(entry)
    if "class_counts" in values and values["class_counts"] is None:
        values["class_counts"] = [1] * head["num_classes"]
    return values


def _check_labels(config: Config, source: Source) -> None:
    """Whether all heads, auxiliary ones too, know the label of a pixel without a class, which is 255 in all masks here.

    mmseg's loss would fail in the first step, with an index out of bounds, or train that label as a class.
    """
    for title, head in titled_heads(config):
        given = head.get("ignore_index", VOID)
        if given != VOID:
            raise InputError(
                f"{source}: {title} has ignore_index {given} and pixels without a class have the label {VOID} here; leave "
                "ignore_index out"
            )


def _parts(config: Config) -> Iterator[tuple[str, Any]]:
    yield "backbone", config.model.get("backbone")
    yield "neck", config.model.get("neck")
    yield from titled_heads(config)
    yield "data_preprocessor", config.get("data_preprocessor")
