"""Feature pyramids of timm models as backbones."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.models.library_backbones import import_timm, unknown_timm_name


@MODELS.register_module()
class LibraryPyramid(BaseModule):
    """A timm model as the backbone of a dense net: its feature maps at strides 4, 8, 16 and 32, with random weights.

    Args:
        name: ``timm:NAME``.
        out_indices: which of the model's stages, counted from 0 at stride 2.
        **kwargs: for the model's own constructor, for example ``drop_path_rate=0.1``.

    Attributes:
        channels: of each map.

    Raises:
        InputError: timm has no such model, or it has no such stages.
    """

    def __init__(
        self, name: str, out_indices: tuple[int, ...] = (1, 2, 3, 4), init_cfg: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(init_cfg)
        library, _, model = name.partition(":")
        if library != "timm" or not model:
            raise InputError(f"unknown backbone '{name}': write timm:NAME, for example timm:tf_efficientnet_lite0")
        timm = import_timm()
        if not timm.is_model(model):
            raise unknown_timm_name(model)
        try:
            self.net = timm.create_model(model, pretrained=False, features_only=True, out_indices=out_indices, **kwargs)
        except (TypeError, RuntimeError, AssertionError, IndexError) as error:
            raise InputError(f"timm could not build the feature maps of '{model}' ({error}): choose another") from error
        self.channels = tuple(self.net.feature_info.channels())

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images [N, 3, H, W] -> maps [N, D_i, H / s_i, W / s_i], the largest first."""
        return tuple(self.net(inputs))
