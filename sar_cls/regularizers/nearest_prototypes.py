"""A classifier without weights: a class scores by the nearest of its prototypes, which are averages of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.regularizers.base import snapshot, whole_number


class NearestPrototypes(nn.Module):
    """Scores ``LayerNorm_c( max_m cos(x, p_{c,m}) )``: of the M prototypes of a class the nearest one counts.

    The classifier of Zhou et al., "Rethinking Semantic Segmentation: A Prototype View" (ProtoSeg), CVPR 2022
    (https://arxiv.org/abs/2203.15102), with the layer norm over the classes of the published code, which brings cosines to a
    scale that a cross-entropy can work with. The prototypes have no gradient: :class:`sar_cls.regularizers.proto_seg.ProtoSeg`
    moves them in training.

    Computed in float32 (float64 stays float64) under autocast, as :class:`sar_cls.models.CosineLinear` is.

    Args:
        in_features: D.
        out_features: C.
        per_class: M, the published 10.

    Raises:
        ValueError: one of the numbers is no whole number, or below 1.
    """

    prototypes: Tensor

    def __init__(self, in_features: int, out_features: int, per_class: int = 10) -> None:
        super().__init__()
        self.in_features = whole_number(self, "in_features", in_features, 1)
        self.out_features = whole_number(self, "out_features", out_features, 1)
        self.per_class = whole_number(self, "per_class", per_class, 1)
        drawn = nn.init.trunc_normal_(torch.empty(self.out_features, self.per_class, self.in_features), std=0.02)
        self.register_buffer("prototypes", F.normalize(drawn, dim=2))
        self.norm = nn.LayerNorm(self.out_features)

    def similarities(self, x: Tensor) -> Tensor:
        """Features [N, D] -> their cosines [N, C, M] to all prototypes, which get no gradient."""
        return self.similarities_of_unit(F.normalize(x.to(self._dtype), dim=1))

    def similarities_of_unit(self, x: Tensor) -> Tensor:
        """The same for features that have length one already, without a further copy of them."""
        # In training the prototypes move between this product and its backward pass.
        prototypes = snapshot(self.prototypes) if self.training else self.prototypes
        cosines = x.to(self._dtype) @ prototypes.to(self._dtype).flatten(0, 1).T
        return cosines.unflatten(1, (self.out_features, self.per_class))

    def scores(self, similarities: Tensor) -> Tensor:
        """Cosines [N, C, M] -> scores [N, C]."""
        weight, bias = self.norm.weight.to(similarities.dtype), self.norm.bias.to(similarities.dtype)
        return F.layer_norm(similarities.amax(dim=2), (self.out_features,), weight, bias, self.norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, D] -> scores [N, C], or maps [N, D, H, W] -> [N, C, H, W]."""
        with torch.autocast(x.device.type, enabled=False):
            if x.dim() == 2:
                return self.scores(self.similarities(x))
            pixels = x.movedim(1, -1)
            scores = self.scores(self.similarities(pixels.reshape(-1, self.in_features)))
            return scores.reshape(*pixels.shape[:-1], self.out_features).movedim(-1, 1)

    @property
    def _dtype(self) -> torch.dtype:
        """Of the computation."""
        return torch.float64 if self.prototypes.dtype == torch.float64 else torch.float32

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, per_class={self.per_class}"


class PrototypeEmbedding(nn.Module):
    """What ProtoSeg's published code puts between a head's feature maps and the prototypes.

    1x1 convolution, ReLU, 1x1 convolution, length one, layer norm over the channels; D channels throughout. The layer norm is in
    float32 (float64 stays float64) under autocast.

    Args:
        channels: D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        self.norm = nn.LayerNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, D, H, W] -> [N, D, H, W]."""
        projected = self.projection(maps)
        with torch.autocast(maps.device.type, enabled=False):
            pixels = F.normalize(projected.to(self.norm.weight.dtype).movedim(1, -1), dim=-1)
            return self.norm(pixels).movedim(-1, 1)
