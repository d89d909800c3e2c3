"""This project's losses under the call that mmpretrain's heads make."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from sar_cls.losses import LOSSES, ClassCountLoss


def _adapted(loss: type[ClassCountLoss]) -> type[ClassCountLoss]:
    class Adapted(loss):  # type: ignore[misc, valid-type]
        def forward(self, logits: Tensor, targets: Tensor, avg_factor: int | None = None, **kwargs: Any) -> Tensor:
            """The loss is a mean over the batch already, which is what ``avg_factor`` asks for."""
            return super().forward(logits, targets)

    Adapted.__name__ = Adapted.__qualname__ = loss.__name__
    Adapted.__doc__ = loss.__doc__
    return Adapted


def public_name(name: str) -> str:
    """The name under which configs know a loss of ``LOSSES``."""
    # mmpretrain's own FocalLoss is the sigmoid one for several labels an image.
    return "SoftmaxFocalLoss" if name == "FocalLoss" else name


def register_losses() -> None:
    """Makes every loss that is in ``LOSSES`` by now known to configs: code of one's own may enter some at any time.

    Raises:
        ValueError: an entry is no class of modules.
    """
    for name, loss in LOSSES.items():
        if not (isinstance(loss, type) and issubclass(loss, nn.Module)):
            what = getattr(loss, "__name__", type(loss).__name__)
            raise ValueError(
                f"{name} of LOSSES is {what!r}: enter a class derived from torch.nn.Module, not what it makes or calls"
            )
        known = MODELS.module_dict.get(public_name(name))
        if known is None or loss not in known.__mro__:
            MODELS.register_module(name=public_name(name), module=_adapted(loss), force=True)


register_losses()
