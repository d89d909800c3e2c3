"""A classifier that is not trained: cosines to class directions that were chosen before training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.anchors import class_anchors


class FixedLinear(nn.Module):
    """Logits ``scale * cos(a_c, x)`` for fixed class anchors a_c; nothing in it learns, there is no bias.

    With ``anchors="simplex"`` the ETF classifier of Yang et al. (NeurIPS 2022, https://arxiv.org/abs/2203.09081, Eq. 5),
    which needs ``in_features >= out_features - 1``, behind a batch norm in the published program; with
    ``anchors="separated"`` the hyperspherical prototypes of Mettes et al. (NeurIPS 2019, https://arxiv.org/abs/1901.10514),
    which exist in any dimension, behind a linear layer there. Features that come from a ReLU reach neither without such a
    layer (``feature_layer`` of the head).

    Computed in float32 (float64 stays float64) under autocast, as :class:`CosineLinear` is.

    Args:
        in_features: D.
        out_features: C.
        anchors: a kind of :func:`sar_cls.anchors.class_anchors`; its rows are brought to length one.
        scale: factor on the cosine.
        seed: seed of the anchors; ``None`` draws from torch's global generator.

    Raises:
        ValueError: ``scale`` is not positive, or no such anchors exist for this C and D (names the remedy).
    """

    weight: Tensor

    def __init__(
        self, in_features: int, out_features: int, anchors: str = "simplex", scale: float = 1.0, seed: int | None = None
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}.")
        try:
            directions = class_anchors(anchors, out_features, in_features, seed)
        except ValueError as error:
            if anchors == "simplex" and in_features < out_features - 1:
                raise ValueError(
                    f"{error}; a backbone with a projection to {out_features - 1} or more features "
                    "(projection=... of CIFARResNet) makes room for it"
                ) from None
            raise
        self.in_features = in_features
        self.out_features = out_features
        self.scale = scale
        # copy_ into a fresh tensor, so that torch's default device and dtype apply as they do to parameters.
        weight = torch.empty(out_features, in_features).copy_(F.normalize(directions, dim=1))
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Features [*, D] -> logits [*, C] in [-scale, scale]."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight if self.weight.dtype == torch.float64 else self.weight.float()
            return self.scale * F.linear(F.normalize(x.to(weight.dtype), dim=-1), weight)
