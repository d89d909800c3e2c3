"""This project's losses under the call that mmpretrain's heads make."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from sar_cls.losses import LOSSES, ClassCountLoss


def _adapted(loss: type[ClassCountLoss]) -> type[ClassCountLoss]:
    class Adapted(loss):  # type: ignore[misc, valid-type]
        def forward(self, logits: Tensor, targets: Tensor, avg_factor: int | None = None, **kwargs: Any) -> Tensor:
            """The loss is a mean over the batch already, which is what ``avg_factor`` asks for."""
            return super().forward(logits, targets)

    Adapted.__name__ = Adapted.__qualname__ = loss.__name__
    Adapted.__doc__ = loss.__doc__
    return Adapted


for _name, _loss in LOSSES.items():
    # mmpretrain's own FocalLoss is the sigmoid one for several labels an image.
    MODELS.register_module(name="SoftmaxFocalLoss" if _name == "FocalLoss" else _name, module=_adapted(_loss))
