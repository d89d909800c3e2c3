"""mmseg's decode heads with a regularizer beside their classifier."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.decode_heads import (
    ASPPHead,
    DepthwiseSeparableASPPHead,
    FCNHead,
    FPNHead,
    OCRHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from sar_cls.mm.head import build_regularizer
from sar_cls.mm.seg.classifiers import Prototypes, build_classifier, check_entries
from sar_cls.mm.seg.initial_weights import draw_as_convolution, without_convolution
from sar_cls.whole_batch import total


def pixel_accuracy(
    scores: Tensor, labels: Tensor, ignore_index: int | None = None, whole_batch: bool = False
) -> Tensor:
    """Percentage [1] of the pixels with a class whose likeliest class is theirs, of several the first one, as in the evaluation.

    Args:
        scores: [N, C, H, W]; with one channel class 0 alone can be right, as in mmseg.
        labels: int64 [N, H, W].
        ignore_index: label of pixels without a class.
        whole_batch: whether of the pixels of all processes.
    """
    counts = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    right = (scores.max(dim=1).indices == labels) & counts
    right, counted = right.sum().reshape(1), counts.sum().reshape(1)
    if whole_batch:
        right, counted = total(torch.stack([right, counted]))
    return 100 * right / counted.clamp(min=1)


class RegularizedDecodeHead:
    """Mixed in before one of mmseg's decode heads: what enters its classifier is regularized while training.

    The feature maps [N, D, H, W] that ``cls_seg`` is called with, before its dropout, go through the regularizer together with the
    labels and the 1x1 convolution ``conv_seg``, as in the published code of SAR (``mmseg/models/segmentors/sar.py``); its
    losses join the head's own. Nothing of it runs at inference, and ``regularizer=None`` is the plain head: the same parameters,
    initial weights and losses.

    In a cascade (OCRNet) it is the last stage that is regularized: that one gets the type and the entry. Auxiliary heads are left
    alone.

    Args:
        regularizer: ``dict(type=NAME, ...)`` with a name of ``sar_cls.REGULARIZERS``, a module, or None. The number of classes,
            the channels and ``ignore_index`` come from the head.
        classifier: ``dict(type="disalign", ...)`` for a second stage: what ``conv_seg`` says goes, with the features in front of
            the dropout, through :class:`sar_cls.models.ScoreCalibration`. ``dict(type="protoseg", per_class=10, ...)``, with
            further arguments of :class:`sar_cls.regularizers.proto_seg.ProtoSeg`: what leaves the dropout is embedded and
            classified by the nearest prototypes, which are ``conv_seg`` then, and their losses are those of a regularizer. None
            for the scores as they are.
        **kwargs: as for the plain head.

    Raises:
        ValueError: an unknown regularizer or classifier, a bad value for it, ProtoSeg together with a regularizer, a head for
            binary masks with a single output, or one whose ``ignore_index`` is a class.
    """

    whole_batch: bool = False  # see sar_cls.whole_batch: here of what is logged alone

    def __init__(
        self,
        *args: Any,
        regularizer: dict[str, Any] | nn.Module | None = None,
        classifier: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        head: Any = self
        check_entries(regularizer, classifier, head.num_classes, head.out_channels, head.ignore_index)
        self.regularizer: Any = build_regularizer(regularizer, head.num_classes, head.conv_seg.in_channels)
        self.calibration: Any = None
        self.embedding: Any = None
        built = build_classifier(classifier, head.num_classes, head.conv_seg.in_channels)
        if isinstance(built, Prototypes):
            self.embedding, head.conv_seg, self.regularizer = built
            head.init_cfg, self._rules_of_convolution = without_convolution(head.init_cfg)
        else:
            self.calibration = built
        if self.regularizer is not None and head.ignore_index is not None:
            self.regularizer.ignore_index = head.ignore_index
        self._features: Tensor | None = None

    def init_weights(self) -> None:
        """Initializes the plain head, and leaves the regularizer as it was constructed."""
        regularizer, self.regularizer = self.regularizer, None
        try:
            if self.embedding is not None and not self.is_init:  # type: ignore[attr-defined]
                draw_as_convolution(self._rules_of_convolution, self.num_classes, self.channels)  # type: ignore[attr-defined]
            super().init_weights()  # type: ignore[misc]
        finally:
            self.regularizer = regularizer

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Logits [N, C, H, W] of the feature maps; what is regularized is kept for the losses of this step.

        In the classifier's own precision, also under autocast: bfloat16 has three significant digits, and of the classes whose
        scores come out equal the first one would win (as in :class:`sar_cls.mm.head.RegularizedLinearClsHead`).
        """
        head: Any = self
        maps = feat if head.dropout is None else head.dropout(feat)
        if self.embedding is not None:
            feat = maps = self.embedding(maps)
        if self.regularizer is not None and head.training:
            self._features = feat
        with torch.autocast(feat.device.type, enabled=False):
            # Prototypes know their precision themselves.
            scores = head.conv_seg(maps if self.embedding is not None else maps.to(head.conv_seg.weight.dtype))
        return scores if self.calibration is None else self.calibration(scores, feat)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Any) -> dict[str, Tensor]:
        """The head's losses and the regularizer's, and the share of pixels that are classified right.

        The same as mmseg's, but that share, which is logged alone, is found without a sort of the scores and without a wait for
        the device: on the CPU that took 4 % of a step of suite ``camvid``.

        Args:
            seg_logits: [N, C, H, W].
            batch_data_samples: a list of ``SegDataSample``, or the masks themselves, int64 [N, 1, h, w].
        """
        head: Any = self
        masks = self._stack_batch_gt(batch_data_samples)
        scores = resize(seg_logits, size=masks.shape[2:], mode="bilinear", align_corners=head.align_corners)
        weight = None if head.sampler is None else head.sampler.sample(scores, masks)
        labels = masks.squeeze(1)
        losses: dict[str, Tensor] = {}
        for loss in head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]:
            value = loss(scores, labels, weight=weight, ignore_index=head.ignore_index)
            name = str(loss.loss_name)
            losses[name] = losses[name] + value if name in losses else value
        losses["acc_seg"] = pixel_accuracy(scores.detach(), labels, head.ignore_index, self.whole_batch)
        features, self._features = self._features, None
        if self.regularizer is not None and features is not None:
            losses.update(self.regularizer(features, labels, head.conv_seg))
        return losses

    def _stack_batch_gt(self, batch_data_samples: Any) -> Tensor:
        """Masks int64 [N, 1, h, w], from this project's batched pipeline (a tensor) or from a list of SegDataSample."""
        if isinstance(batch_data_samples, Tensor):
            return batch_data_samples
        return super()._stack_batch_gt(batch_data_samples)  # type: ignore[misc]


def _regularized(head: type[nn.Module]) -> type[nn.Module]:
    name = f"Regularized{head.__name__}"
    made = type(name, (RegularizedDecodeHead, head), {"__doc__": f"``{head.__name__}`` with a regularizer.\n"})
    made.__module__ = __name__
    MODELS.register_module(module=made)
    return made


# Name in a config -> class. The first five are those of the paper's six systems (HRNet and FCN have the same), the others call
# their classifier in the same way.
HEADS: dict[str, type[nn.Module]] = {
    f"Regularized{head.__name__}": _regularized(head)
    for head in (FCNHead, ASPPHead, OCRHead, SegformerHead, UPerHead, PSPHead, DepthwiseSeparableASPPHead, FPNHead)
}
