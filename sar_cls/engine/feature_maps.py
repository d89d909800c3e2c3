"""Whether the heads of a segmentation net take the feature maps that its backbone gives, asked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from sar_cls.engine import dense
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

# Pixels of an image that is shown to the backbone: its maps are looked at for their number and their channels alone.
_SIDE = 64
# Entries of a head that say nothing about its inputs, and some of which take the class counts of data that are not read yet.
_OF_LOSSES = ("loss_decode", "sampler", "regularizer", "classifier")


def check_feature_maps(config: Config, source: Source, backbone: nn.Module) -> None:
    """Builds neck and heads and compares what they take with what comes out of the backbone.

    Nothing is said of a backbone that does not take a small image, or whose features are no list of maps.

    Args:
        config: of a segmentation net.
        source: of the config, for messages.
        backbone: of that net, on the CPU.

    Raises:
        InputError: a head or neck cannot be built, or takes other maps than those.
    """
    maps, giver = _of_backbone(source, backbone), "backbone"
    if maps is not None and config.model.get("neck") is not None:
        maps, giver = _through_neck(config, source, maps), "neck"
    for title, part in dense.titled_heads(config):
        head = _build(part, title, source)
        if maps is not None:
            there = f"the {giver} gives {len(maps)} feature maps, of {_channels(maps)} channels"
            _compare(head, part, [item.shape[1] for item in maps], f"{source}: {title}", there)


def _of_backbone(source: Source, backbone: nn.Module) -> list[Tensor] | None:
    try:
        return _maps(backbone, torch.zeros(1, 3, _SIDE, _SIDE))
    except Exception as error:  # an image too small for it can end in anything
        if "to have" in str(error) and "channels" in str(error):  # torch's words for a convolution
            raise InputError(
                f"{source}: the backbone does not take images of three channels; correct its arguments"
            ) from error
        return None


def _through_neck(config: Config, source: Source, maps: list[Tensor]) -> list[Tensor] | None:
    neck = _build(config.model.neck, "neck", source)
    try:
        return _maps(neck, tuple(maps))
    except (AssertionError, IndexError, RuntimeError) as error:
        raise InputError(
            f"{source}: the neck does not take the feature maps of the backbone, of {_channels(maps)} channels: correct its "
            "in_channels"
        ) from error


def _maps(module: nn.Module, inputs: Any) -> list[Tensor] | None:
    """What a backbone or neck makes of its inputs; None if that is no list of maps."""
    module.eval()  # batch norm of maps of a single pixel
    with torch.inference_mode():
        found = module(inputs)
    if not isinstance(found, (list, tuple)) or not all(isinstance(item, Tensor) and item.ndim == 4 for item in found):
        return None
    return list(found)


def _build(part: Any, title: str, source: Source) -> Any:
    from mmseg.registry import MODELS

    try:
        with DefaultScope.overwrite_default_scope("mmseg"), torch.random.fork_rng(devices=[]):
            return MODELS.build({name: value for name, value in part.to_dict().items() if name not in _OF_LOSSES})
    except (AssertionError, TypeError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        # mmseg asserts without a word that these are lists for several maps and single numbers for one.
        about = said or "in_channels and in_index do not go together, as lists of one length or as a number each"
        raise InputError(f"{source}, {title}: {about}; correct the config") from error


def _compare(head: Any, part: Any, given: Sequence[int], title: str, there: str) -> None:
    """A built head and its entry beside the channels of the maps that there are; ``there`` says them."""
    index, asked = getattr(head, "in_index", None), part.get("in_channels")
    if index is None or asked is None:
        return
    several = isinstance(index, (list, tuple))
    chosen = list(index) if several else [index]
    if any(not -len(given) <= item < len(given) for item in chosen):
        raise InputError(f"{title} has in_index {index} and {there}: number them from 0 to {len(given) - 1}")
    found = [given[item] for item in chosen]
    if (list(asked) if several else [asked]) != found:
        right = found if several else found[0]
        raise InputError(f"{title} has in_channels {asked} and {there}: with in_index {index} give {right}")
    lowest = part.get("c1_in_channels")  # of the first map, which DeepLabV3+ takes beside its own
    if lowest and lowest != given[0]:
        raise InputError(f"{title} has c1_in_channels {lowest} and {there}: give {given[0]}")


def _channels(maps: Sequence[Tensor]) -> str:
    written = [str(item.shape[1]) for item in maps]
    return written[0] if len(written) == 1 else f"{', '.join(written[:-1])} and {written[-1]}"
