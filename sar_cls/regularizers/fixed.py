"""Class-anchor regularization with fixed anchors: features are pulled straight to points drawn before training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sar_cls.given_anchors import draw_anchors
from sar_cls.regularizers.base import Classifier, Regularizer, squared_distance
from sar_cls.regularizers.targets import Targets


class FixedAnchors(Regularizer):
    """CR of the SAR paper (Sec. 3.2; rows ND, OM and MES of Tab. 7).

    ``loss_anchor = weight * mean over samples and channels of (F - Y A)^2`` (Eq. 4 with the pre-defined anchors A in
    place of the semantic ones). With soft targets Y its gradient is that of the label-weighted sum of the losses to
    the single anchors. With ``sample_weights`` s the mean over samples is ``sum_i s_i d_i / sum_i s_i``, 0 where all are
    0; on feature maps it is taken over the pixels that have a class.

    Buffer: ``class_anchors`` [C, D], saved in checkpoints.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        kind: how the anchors are drawn, see :func:`sar_cls.anchors.class_anchors`: ``"normal"`` (ND),
            ``"orthogonal"`` (OM), ``"simplex"`` (MES), ``"tight_frame"`` or ``"separated"``; or given, see
            :func:`sar_cls.given_anchors.draw_anchors`.
        weight: weight of the loss (the paper's lambda_2).
        seed: seed of the anchors; ``None`` draws them from torch's global generator.
        ignore_index: label of the pixels of a feature map that have no class.
        class_names: C names in the order of the labels, for anchors from names.
        superclasses: the number of each class's superclass, for ``kind="superclasses"``.

    Raises:
        ValueError: an argument is out of its range, or no such anchors exist for this C and D.
    """

    class_anchors: Tensor

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        kind: str | np.ndarray | Tensor = "normal",
        weight: float = 0.1,
        seed: int | None = None,
        ignore_index: int = 255,
        class_names: Sequence[str] | None = None,
        superclasses: Sequence[int] | None = None,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.kind = kind if isinstance(kind, str) else "given"
        self.weight = self._weight("weight", weight)
        # copy_ into a fresh tensor, so that torch's default device and dtype apply as they do to parameters.
        anchors = torch.empty(self.num_classes, self.feat_dim).copy_(
            draw_anchors(kind, self.num_classes, self.feat_dim, seed, class_names, superclasses)
        )
        self.register_buffer("class_anchors", anchors)

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        return {"loss_anchor": self.weight * squared_distance(features, targets, self.class_anchors)}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kind={self.kind!r}, weight={self.weight}"
