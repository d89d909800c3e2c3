"""A classifier on the unit sphere, which margins such as LDAM's are measured on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineLinear(nn.Module):
    """Logits ``scale * cos(w_c, x)``: features and class weights normalized to length one, no bias.

    The classifier of LDAM (Cao et al., NeurIPS 2019, https://arxiv.org/abs/1906.07413), where the loss brings the scale
    (30), so that here it is 1. Test logits in [-1, 1] are never confident, though: for a meaningful calibration put
    ``scale=30`` here and train with ``LDAM(..., scaled_logits=True)``, which is the same loss.

    Computed in float32 (float64 stays float64) under autocast: times 30, a cosine in bfloat16 is off by up to 0.1.

    Args:
        in_features: D.
        out_features: C.
        scale: Factor on the cosine.

    Raises:
        ValueError: ``scale`` is not positive.
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}.")
        self.in_features = in_features
        self.out_features = out_features
        self.scale = scale
        # Normal draws have uniform directions; only the direction matters.
        self.weight = nn.Parameter(F.normalize(torch.randn(out_features, in_features), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Features [*, D] -> logits [*, C] in [-scale, scale]."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight if self.weight.dtype == torch.float64 else self.weight.float()
            return self.scale * F.linear(F.normalize(x.to(weight.dtype), dim=-1), F.normalize(weight, dim=1))
