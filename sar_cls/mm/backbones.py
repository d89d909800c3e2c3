"""Backbones that mmpretrain does not have, and those of timm and torchvision."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from sar_cls.models import CIFARResNet
from sar_cls.models.library_backbones import build_backbone


@MODELS.register_module(name="CIFARResNet")
class CIFARResNetBackbone(BaseModule):
    """The CIFAR ResNet of He et al. (6n+2 layers, option-A shortcuts) as an mmpretrain backbone; its features are
    [N, 4 width], or [N, projection].

    Args:
        depth: 6n+2, for example 20, 32, 44, 56.
        width: channels of the first stage.
        projection: features after a linear layer behind the pooling; None has no such layer.
    """

    def __init__(self, depth: int = 32, width: int = 16, projection: int | None = None, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.net = CIFARResNet(depth=depth, width=width, projection=projection)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.net.features(inputs),)


@MODELS.register_module()
class LibraryBackbone(BaseModule):
    """A timm or torchvision model without its classifier: its features [N, D] are what would enter that classifier.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        **kwargs: for the model's own constructor, for example ``img_size=32`` for a vision transformer.

    Raises:
        InputError: the library has no such model.
    """

    def __init__(self, name: str, init_cfg: Any = None, **kwargs: Any) -> None:
        super().__init__(init_cfg)
        self.net = build_backbone(name, num_classes=0, **kwargs)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.net.features(inputs),)
