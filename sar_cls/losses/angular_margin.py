"""Margins on the angle between a feature and its class: CosFace subtracts one from the cosine, ArcFace adds one to the angle."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sar_cls.losses.base import ClassCountLoss, ClassCounts, expected_cost, full_precision


def margin_cost(cosines: Tensor, with_margin: Tensor, scale: float) -> Tensor:
    """What each class would cost, were it the right one: the cross-entropy with the margin at that class alone.

    ``cost_c = log( e^{s m_c} + sum over j != c of e^{s z_j} ) - s m_c`` for cosines z and cosines with margin m.

    Args:
        cosines: z [N, C].
        with_margin: m [N, C].
        scale: s.

    Returns:
        [N, C].
    """
    logits, right = scale * cosines, scale * with_margin
    # The sum over all other classes from sums over those before and those behind: no difference of near equal numbers.
    nothing = torch.full_like(logits[:, :1], torch.finfo(logits.dtype).min / 4)  # finite, or logaddexp has no gradient
    before = torch.cat([nothing, torch.logcumsumexp(logits, dim=1)[:, :-1]], dim=1)
    behind = torch.cat([torch.logcumsumexp(logits.flip(1), dim=1).flip(1)[:, 1:], nothing], dim=1)
    others = torch.logaddexp(before, behind)
    return F.softplus(others - right)


class CosFace(ClassCountLoss):
    """Large-margin cosine loss: cross-entropy of ``s (cos_c - m [c = y])``.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, Eq. 4
    (https://arxiv.org/abs/1801.09414). The classifier is ``sar_cls.models.CosineLinear``. For soft targets the expectation
    of the losses of the single classes, which for mixup is the weighted sum of the two. The published scale and margin
    are those of faces (64, 0.35); on CIFAR-sized problems smaller ones are usual, and the defaults here are ours. Programs for
    faces have a linear layer, and most a batch norm, between the net and the classifier, so that features have coordinates of both
    signs: ``feature_layer="linear_batch_norm"`` of the head. Straight behind a ReLU all of them lie in one orthant.

    Args:
        class_counts: Training images per class [C]; only their number is used.
        margin: m, on the cosine.
        scale: s.
        scaled_logits: ``True`` where the classifier already multiplies by ``scale``.

    Raises:
        ValueError: a scale that is not positive or a margin out of range; in ``forward``, logits of another number of
            classes.
    """

    def __init__(
        self, class_counts: ClassCounts, margin: float = 0.2, scale: float = 30.0, scaled_logits: bool = False
    ) -> None:
        super().__init__(class_counts)
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive, not {scale}.")
        self.margin = self.checked_margin(margin)
        self.scale = scale
        self.scaled_logits = scaled_logits

    @staticmethod
    def checked_margin(margin: float) -> float:
        """Refuses a margin that no cosine has room for."""
        if not 0 <= margin < 1:
            raise ValueError(f"margin must be from 0 to below 1 on the cosine, not {margin}.")
        return margin

    def with_margin(self, cosines: Tensor) -> Tensor:
        """What the cosine of the right class is replaced by; [N, C] -> [N, C]."""
        return cosines - self.margin

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of cosines [N, C], or of ``scale * cosine`` with ``scaled_logits``."""
        self.check_logits(logits, targets)
        cosines = full_precision(logits)
        if self.scaled_logits:
            cosines = cosines / self.scale
        return expected_cost(margin_cost(cosines, self.with_margin(cosines), self.scale), targets)


class ArcFace(CosFace):
    """Additive angular margin loss: cross-entropy of ``s cos(theta_c + m [c = y])``.

    Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, Eq. 3
    (https://arxiv.org/abs/1801.07698). Where ``theta_y + m`` would pass pi the cosine is replaced, as in the published
    code, by ``cos theta_y - m sin m``, so that it keeps falling. Classifier, soft targets and defaults as for ``CosFace``;
    the published values for faces are 64 and 0.5. The margin costs least where all class vectors and features lie in one
    direction, and a net that is trained from the start at a high learning rate can end there (``results/``: CIFAR-100-LT
    at 16x16 with the default margin); a smaller margin is the remedy.

    Args:
        class_counts: Training images per class [C]; only their number is used.
        margin: m, in radians.
        scale: s.
        scaled_logits: ``True`` where the classifier already multiplies by ``scale``.

    Raises:
        ValueError: a scale that is not positive or a margin out of range; in ``forward``, logits of another number of
            classes.
    """

    @staticmethod
    def checked_margin(margin: float) -> float:
        if not 0 <= margin < math.pi / 2:
            raise ValueError(f"margin must be from 0 to below pi / 2 radians, not {margin}.")
        return margin

    def with_margin(self, cosines: Tensor) -> Tensor:
        inside = cosines.clamp(-1, 1)  # rounding takes cosines past 1
        square = 1 - inside.square()
        # The square root has no derivative at 0, where a feature lies on its class vector or opposite to it.
        sine = torch.where(square > 0, square.clamp_min(torch.finfo(square.dtype).tiny).sqrt(), 0.0)
        turned = inside * math.cos(self.margin) - sine * math.sin(self.margin)
        past_pi = inside <= -math.cos(self.margin)
        return torch.where(past_pi, inside - self.margin * math.sin(self.margin), turned)
