"""Initial weights of a decode head whose 1x1 convolution has given its place to prototypes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.model import initialize
from torch import nn

from sar_cls.mm.head import apart_from_the_model

# The name of the 1x1 convolution in all of mmseg's decode heads.
_CONVOLUTION = "conv_seg"


def without_convolution(init_cfg: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A head's rules for initial weights, parted into those for all but its 1x1 convolution, and those that name that one.

    Prototypes in its place would get the convolution's weights in their layer norm.

    Args:
        init_cfg: mmengine's, a rule, several or none.
    """
    rest, own = [], []
    for rule in [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg or []):
        overrides = rule.get("override") or []
        overrides = [overrides] if isinstance(overrides, dict) else list(overrides)
        of_convolution = [override for override in overrides if override.get("name") == _CONVOLUTION]
        others = [override for override in overrides if override not in of_convolution]
        bare = {key: value for key, value in rule.items() if key != "override"}
        if of_convolution:
            own.append({**{key: bare[key] for key in bare if key != "layer"}, "override": of_convolution})
        if others or not of_convolution or "layer" in rule:
            rest.append({**bare, "override": others} if others else bare)
    return rest, own


def draw_as_convolution(rules: Iterable[dict[str, Any]], num_classes: int, feat_dim: int) -> None:
    """Draws the numbers that a head's 1x1 convolution would be initialized with, and drops them.

    So the rest of the net gets the same weights with and without prototypes in its place: runs of one seed are paired.
    """
    with apart_from_the_model():
        convolution = nn.Conv2d(feat_dim, num_classes, 1)
    stand_in = nn.Module()
    stand_in.add_module(_CONVOLUTION, convolution)
    for rule in rules:
        initialize(stand_in, rule)
