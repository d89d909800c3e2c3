"""What is wrong with a net or a data set that a run's folder describes: only registered modules are ever built from it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from mmpretrain.registry import MODELS
from torch import nn

from sar_cls.data.load import IMAGE_SETS, load_image_set
from sar_cls.data.longtail import longtail_indices

# Segmentors of mmseg by what a run leaves of them.
SEGMENTORS = ("EncoderDecoder", "CascadeEncoderDecoder")
_REGISTERED = re.compile(r"[A-Za-z_]\w*")
_LIBRARY_MODEL = re.compile(r"(timm|torchvision):[\w.]+")
# Of mmpretrain and mmseg, what a backbone, neck or head can be; the registries also hold whole models that fetch code and weights.
_PARTS_OF_A_NET = {
    "mmpretrain": ("mmpretrain.models.backbones.", "mmpretrain.models.necks.", "mmpretrain.models.utils."),
    "mmseg": tuple(f"mmseg.models.{part}." for part in ("backbones", "necks", "decode_heads", "data_preprocessor")),
}
# Entries of a data set with which something is computed -> their types.
_KINDS: dict[str, tuple[type, ...]] = {
    "imbalance_factor": (int, float),
    "seed": (int,),
    "size": (int,),
    "profile": (str,),
}
_KINDS |= {"num_classes": (int,), "downscale": (int,), "data_root": (str,)}
_LIBRARIES = {"mmpretrain", "mmseg", "mmengine", "mmcv", "torch", "torchvision", "transformers"}


def net_problem(part: dict[str, Any], library: str = "mmpretrain") -> str | None:
    """What is wrong with the config of a backbone, neck, head or preprocessor, in a few words; None where nothing is.

    Args:
        part: the config.
        library: whose registry has it, "mmpretrain" or "mmseg".
    """
    registry = MODELS if library == "mmpretrain" else import_module("mmseg.registry").MODELS
    for name in _types(part):
        # mmengine takes a dotted name for any object of any module, and calls it.
        known = isinstance(name, str) and name.removeprefix(f"{library}.") in registry.module_dict
        if not known and (not isinstance(name, str) or _REGISTERED.fullmatch(name) is None):
            return f"{name!r} is no name of a module"
    if "type" not in part:
        return "a part of the net has no type"
    try:
        kind = registry.get(part["type"])
    except RuntimeError:
        kind = None
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        return f"there is no module {part['type']!r}"
    home = f"{kind.__module__}."
    if home.split(".")[0] in _LIBRARIES and not home.startswith(_PARTS_OF_A_NET[library]):
        return f"{part['type']!r} is no part of a net"
    takes_names = part["type"] in ("LibraryBackbone", "LibraryPyramid")
    if takes_names and _LIBRARY_MODEL.fullmatch(str(part.get("name"))) is None:
        return f"{part.get('name')!r} is neither timm:NAME nor torchvision:NAME"
    return None


def segmentor_problem(segmentor: dict[str, Any]) -> str | None:
    """Likewise of what a run leaves of a segmentor: ``type``, ``decode_head`` (one or the stages of a cascade), ``test_cfg``."""
    if not isinstance(segmentor, dict) or segmentor.get("type") not in SEGMENTORS:
        return f"the segmentor must be one of {', '.join(SEGMENTORS)}"
    heads, test = segmentor.get("decode_head"), segmentor.get("test_cfg")
    heads = heads if isinstance(heads, list) else [heads]
    if not heads or not all(isinstance(head, dict) for head in heads):
        return "the decode_head is missing"
    if not isinstance(test, dict) or test.get("mode", "whole") not in ("whole", "slide"):
        return "test_cfg must say whole or slide"
    return next((problem for head in heads if (problem := net_problem(head, "mmseg"))), None)


def _types(value: Any) -> list[Any]:
    """Every ``type`` in a config, however deep."""
    if isinstance(value, dict):
        return [*([value["type"]] if "type" in value else []), *(t for item in value.values() for t in _types(item))]
    return [t for item in value for t in _types(item)] if isinstance(value, list) else []


def dataset_problem(dataset: object) -> str | None:
    """Likewise of the data set of a classifier."""
    if not isinstance(dataset, dict) or dataset.get("name") not in IMAGE_SETS:
        return "the data set is unknown"
    tail = dataset.get("longtail")
    if not isinstance(tail, (dict, type(None))):
        return "the long tail of the data set is no object"
    for part, function in ((dataset, load_image_set), (tail or {}, longtail_indices)):
        known = {*inspect.signature(function).parameters, "longtail", "downscale"}
        for key, value in part.items():
            kinds = _KINDS.get(key, (str, int, float, dict if key == "longtail" else type(None)))
            if key not in known or not isinstance(value, (*kinds, type(None))):
                return f"the entry {key!r} of the data set is unknown or of a wrong type"
    return None


def masked_dataset_problem(dataset: object) -> str | None:
    """Likewise of the data set of a segmentation net: its name, and where it lies."""
    if not isinstance(dataset, dict) or not re.fullmatch(r"[\w-]+", str(dataset.get("name"))):
        return "the data set is unknown"
    odd = [key for key, value in dataset.items() if key not in ("name", "data_root") or not isinstance(value, str)]
    return f"the entry {odd[0]!r} of the data set is unknown or of a wrong type" if odd else None
