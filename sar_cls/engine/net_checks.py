"""What a run needs of its net and its weights, asked before images are decoded or a first stage is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from sar_cls.errors import InputError
from sar_cls.mm.second_stage import hold_of
from sar_cls.models import use_virtual_batches
from sar_cls.models.library_backbones import build_backbone
from sar_cls.models.shifted_bn import has_batch_norm
from sar_cls.weights import load_weights, look_up_weights

if TYPE_CHECKING:
    from sar_cls.engine.recipe import Resolved


def check_net(resolved: Resolved) -> None:
    """Whether the net of a first stage can have what its config says.

    Raises:
        InputError: there are no weights where the config or the command line says, or they are of another net; there is
            no batch norm for virtual batches.
    """
    config, backbone = resolved.config, None
    if config.get("bn_batch") is not None:
        backbone = _backbone(resolved)
        use_virtual_batches(backbone, config.bn_batch)
    if config.get("weights") is not None:
        if "backbone" in resolved.overrides:  # its size can follow from the images, and with it what fits
            look_up_weights(config.weights)
        else:
            load_weights(backbone or _backbone(resolved), config.weights)


def check_hold(second: Resolved, first: Resolved, name: str, others: Sequence[str]) -> None:
    """Whether a second stage can keep the backbone of its first one as its config says.

    Args:
        second: of the second stage.
        first: of the first one.
        name: of the second stage, for the message.
        others: second stages that need no batch norm, likewise.

    Raises:
        InputError: it shifts batch norms and there are none.
    """
    if hold_of(second.config.model) != "shifted_bn" or has_batch_norm(_backbone(first)):
        return
    backbone = first.overrides.get("backbone") or first.config.model.backbone.get(
        "name", first.config.model.backbone.type
    )
    instead = (
        f", or take longtail/stage2.py --method {' or '.join(others)} after the first stage alone" if others else ""
    )
    raise InputError(
        f"{name} shifts the statistics of batch norms, and {backbone} has none: add --hold frozen{instead}"
    )


def _backbone(resolved: Resolved) -> nn.Module:
    """The backbone of a first stage, built for a look at it."""
    name = resolved.overrides.get("backbone")
    if name is not None:
        return build_backbone(name, num_classes=0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(resolved.config.model.backbone.to_dict())
