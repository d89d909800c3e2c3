"""Puts batch norms of another kind into a built net, with the very tensors of those that were there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def replace_batch_norms(net: nn.Module, build: Callable[[Any, str], nn.Module], apart: Iterable[nn.Module] = ()) -> int:
    """Replaces every batch norm below ``net``; parameters, buffers and the names in the state dict stay.

    Args:
        net: changed in place.
        build: is given a batch norm and its name and returns the one that takes its place, of the same size and settings. One
            that cannot be replaced is its to refuse.
        apart: modules below ``net`` that stay as they are.

    Returns:
        How many there were, one that is in several places counted once.
    """
    made: dict[int, nn.Module] = {}
    places: list[tuple[nn.Module, str, int]] = []
    left = {id(module) for part in apart for module in part.modules()}
    for path, parent in net.named_modules():
        if id(parent) in left:
            continue
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                if id(child) not in made:
                    made[id(child)] = _with_tensors_of(child, build(child, f"{path}.{name}".lstrip(".")))
                places.append((parent, name, id(child)))
    for parent, name, key in places:
        setattr(parent, name, made[key])
    return len(made)


def _with_tensors_of(norm: _BatchNorm, new: nn.Module) -> nn.Module:
    new.track_running_stats = norm.track_running_stats  # type: ignore[assignment]
    # The very tensors, in the order of the state dict.
    new._parameters.update(norm._parameters)
    new._buffers.update(norm._buffers)
    for child, module in norm.named_children():
        new.add_module(child, module)
    return new.train(norm.training)
