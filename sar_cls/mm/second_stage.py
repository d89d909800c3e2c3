"""The second stage of two-stage long-tailed training: the network of a first stage with its backbone held."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models import freeze, freeze_with_shifted_bn
from sar_cls.models.shifted_bn import has_batch_norm

SECOND_STAGE = "SecondStageClassifier"
_DEFAULT_HOLD = "shifted_bn"
_HOLD = {"shifted_bn": freeze_with_shifted_bn, "frozen": freeze}
# What of a state dict belongs to the training of a first stage: regularizers, losses, and heads that only they have use for.
TRAINING_ONLY = re.compile(r"(decode_|auxiliary_)?head\.(\d+\.)?(regularizer\.|loss)|auxiliary_head\.")
# What a second stage may have beyond its first one: a scaling vector, a calibration, a loss of its own.
_ADDED = re.compile(r"head\.fc\.(scaling|calibration)\.|decode_head\.(\d+\.)?calibration\.")


@MODELS.register_module()
class SecondStageClassifier(ImageClassifier):
    """``ImageClassifier`` whose backbone gets no gradient, nor a layer that its head has before the classifier.

    Args:
        hold: "shifted_bn": the backbone stays in training mode, so that the running statistics of its batch norms move to the
            new sampling (MiSLAS, Zhong et al. 2021, Sec. 3.3; also the program of Kang et al. 2020); "frozen": it is in evaluation
            mode, nothing of it moves (MiSLAS without shifted batch norm, as on CIFAR-10-LT).
        **kwargs: as for ``ImageClassifier``.
    """

    def __init__(self, hold: str = _DEFAULT_HOLD, **kwargs: Any) -> None:
        if hold not in _HOLD:
            raise ValueError(f"unknown hold {hold!r}: choose one of {', '.join(_HOLD)}")
        super().__init__(**kwargs)
        self.hold = hold
        self._keep()

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        if mode and hasattr(self, "hold"):
            self._keep()
        return self

    def _keep(self) -> None:
        _HOLD[self.hold](self.backbone)
        layer = getattr(self.head, "feature_layer", None)
        if layer is not None:
            (_HOLD[self.hold] if has_batch_norm(layer) else freeze)(layer)


def hold_of(model: Mapping[str, Any]) -> str | None:
    """How a config's model keeps its backbone; None where it is no second stage that trains."""
    return model.get("hold", _DEFAULT_HOLD) if model.get("type") == SECOND_STAGE else None


def first_stage_weights(
    state: dict[str, Tensor], model: nn.Module, path: str, *, with_classifier: bool = True
) -> dict[str, Tensor]:
    """The part of a first stage's state dict that a second stage starts from.

    Regularizers belong to the first stage: their keys go. A weight scaling vector or a calibration has no counterpart there and
    keeps its initial values.

    Args:
        state: of the first stage's model.
        model: of the second stage.
        path: of the checkpoint, for messages.
        with_classifier: False leaves the classifier at its initial weights (cRT trains it anew).

    Raises:
        InputError: the first stage has another net.
    """
    own = model.state_dict()
    if not with_classifier:
        state = {key: value for key, value in state.items() if not key.startswith("head.fc.")}
    weights = {key: value for key, value in state.items() if not TRAINING_ONLY.match(key)}
    foreign = [key for key, value in weights.items() if key not in own or own[key].shape != value.shape]
    # A classifier that starts anew is missing as a whole.
    anew = () if with_classifier else ("head.fc.",)
    needed = [key for key in own if not (TRAINING_ONLY.match(key) or _ADDED.match(key) or key.startswith(anew))]
    missing = [key for key in needed if key not in weights]
    if foreign or missing:
        raise InputError(
            f"{path} is of another net: {(foreign or missing)[0]} does not fit; give a first stage trained with the same backbone "
            "and classes"
        )
    return weights
