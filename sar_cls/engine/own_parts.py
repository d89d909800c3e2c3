"""Regularizers and losses, built for a look before anything is loaded: code of one's own can be wrong in any way."""

from __future__ import annotations

from typing import Any

from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from sar_cls.engine.config import before_data
from sar_cls.errors import InputError
from sar_cls.mm.head import build_regularizer
from sar_cls.steps.step import first_line
from sar_cls.suites.rows import Source

# Stands for the images of each class, which are not counted yet.
_SOME = 2


def check_regularizer(entry: Any, num_classes: int, feat_dim: int, source: Source) -> nn.Module | None:
    """Builds the regularizer of a head.

    Args:
        entry: ``dict(type="SAR", ...)`` of the config, or None.
        num_classes: C.
        feat_dim: D.
        source: whose it is, for the message.

    Raises:
        InputError: it cannot be built.
    """
    try:
        return build_regularizer(before_data(entry), num_classes, feat_dim)
    except Exception as error:
        raise _cannot_be_built("regularizer", error, source) from error


def check_loss(entry: Any, num_classes: int, source: Source) -> None:
    """Builds the loss of a classifier's head, for classes of two images each where it is told how many there are.

    Args:
        entry: ``dict(type="LDAM", ...)`` of the config, whose type is known; None for the default.
        num_classes: C.
        source: whose it is, for the message.

    Raises:
        InputError: it cannot be built.
    """
    if not isinstance(entry, dict) or not entry:
        return
    arguments = {name: value for name, value in entry.items() if name not in ("type", "_scope_")}
    if "class_counts" in arguments:  # whatever it says, the training images' take its place
        arguments["class_counts"] = [_SOME] * num_classes
    kind = entry["type"]
    try:
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            factory = kind if callable(kind) else MODELS.get(kind)
            factory(**arguments)
    except Exception as error:
        raise _cannot_be_built("loss", error, source) from error


def _cannot_be_built(title: str, error: Exception, source: Source) -> InputError:
    """Arguments are refused by TypeError or ValueError, in words; whatever else is raised is a fault of the code itself."""
    if isinstance(error, (TypeError, ValueError)) and str(error).strip():
        return InputError(f"{source}, {title}: {str(error).strip().splitlines()[0].rstrip('.')}; correct the config")
    return InputError(f"{source}, {title}: its constructor ends in {first_line(error)}; correct its code")
