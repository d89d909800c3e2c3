"""Backbones that mmpretrain does not have."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from sar_cls.models import CIFARResNet


@MODELS.register_module(name="CIFARResNet")
class CIFARResNetBackbone(BaseModule):
    """The CIFAR ResNet of He et al. (6n+2 layers, option-A shortcuts) as an mmpretrain backbone; its features are [N, 64].

    Args:
        depth: 6n+2, for example 20, 32, 44, 56.
    """

    def __init__(self, depth: int = 32, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.net = CIFARResNet(depth=depth)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.net.features(inputs),)
