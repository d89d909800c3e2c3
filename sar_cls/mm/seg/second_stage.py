"""The second stage of a segmentation net: all of a first stage stands still but the calibration of its scores."""

from __future__ import annotations

from typing import Any

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from sar_cls.mm.head import head_of
from sar_cls.models import freeze_all_but

# Segmentor of a first stage -> of its second.
SECOND_STAGES = {"EncoderDecoder": "SecondStageSegmentor", "CascadeEncoderDecoder": "SecondStageCascade"}


class _OnlyCalibrated:
    """Mixed in before a segmentor: nothing has a gradient, and all is in evaluation mode, but the calibration of its last head.

    Published DisAlign freezes the same parameters but leaves batch norms and dropout of the whole net in training mode, so that
    running statistics move on; here they stand still with the rest (our reading of a frozen first stage). Auxiliary heads, whose
    loss it weights 0, are not built.

    Raises:
        ValueError: the head has no calibration.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._calibrations = [getattr(head_of(self), "calibration", None)]
        if self._calibrations[0] is None:
            raise ValueError(
                'a second stage of a segmentation net trains a calibration: give decode_head classifier=dict(type="disalign")'
            )
        self._hold()

    def _hold(self) -> None:
        freeze_all_but(self, *self._calibrations)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)  # type: ignore[misc]
        if mode and hasattr(self, "_calibrations"):
            self._hold()
        return self  # type: ignore[return-value]

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """The losses of the decode head, or of the heads of a cascade."""
        features = self.extract_feat(inputs)  # type: ignore[attr-defined]
        return dict(self._decode_head_forward_train(features, data_samples))  # type: ignore[attr-defined]


@MODELS.register_module()
class SecondStageSegmentor(_OnlyCalibrated, EncoderDecoder):
    """``EncoderDecoder`` of which only the calibration is trained."""


@MODELS.register_module()
class SecondStageCascade(_OnlyCalibrated, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` of which only the calibration of the last head is trained."""
