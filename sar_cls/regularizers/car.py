"""Class-Aware Regularization (CAR): the batch's own class centres pull their samples and push each other away."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sar_cls.regularizers.base import Classifier, Regularizer, snapshot, sum_over_processes
from sar_cls.regularizers.targets import Targets

# The intra-class loss is not driven below this value (published code).
INTRA_FLOOR = 1e-5
# Row sums of the two inter-class relations are clipped to [ROW_SUM_EPS, 1 - ROW_SUM_EPS].
ROW_SUM_EPS = 1e-5


class CAR(Regularizer):
    """CAR (Huang et al. 2022, "CAR: Class-aware Regularizations for Semantic Segmentation"), for both tasks.

    The method works on the pixels of a batch of feature maps; for classification the N features of a batch take their
    place, as in the SAR paper (Eq. 3 and Tab. 10). P_c is the mean feature of class c in the batch, C the number of
    classes, sg() stops the gradient:

    * ``loss_intra``, centre to sample: ``(mean over all entries of |sg(P_y) - f|)^2``, clipped below at 1e-5.
    * ``loss_inter_c2c``, centre to centre: ``R = softmax(P sg(P)' / sqrt(D))`` by row; an off-diagonal entry counts
      with what it exceeds ``theta = c2c_margin / (C - 1)`` by; row sums are clipped to [1e-5, 1 - 1e-5];
      ``(mean over rows)^2``.
    * ``loss_inter_c2s``, centre to sample: energies ``f sg(P)'`` with the entry of the own class replaced by
      ``sg(P_y . P_y)``, ``/ sqrt(D)``, softmax; entries of other classes count with what they exceed
      ``c2s_margin / (C - 1)`` by; row sums are clipped likewise; ``(mean over samples)^2``. A sample is pushed away
      from the centres of other classes and from nothing else: the published code stops the gradient of the centres
      before it forms any energy.

    A class without a centre takes part in no term: it is no row, no column and no entry of a softmax.

    Soft targets Y (mixup) reduce to the above for one-hot rows: ``P = Y'F / Y'1``; a sample's centre P_y is ``Y P``;
    in the last term the energies are ``(1 - Y) * F sg(P)' + Y * sg(P . P)`` and an entry counts with the weight
    ``1 - Y``.

    With ``sample_weights`` s (0 in the ignored pixels of a feature map) ``P = (sY)'F / (sY)'1``, a class has a centre
    where its weight ``(sY)'1`` is above 0, and the means over entries and samples are ``sum_i s_i v_i / sum_i s_i``. A
    batch whose weights are all 0 gives 0 for all three terms.

    Two settings: the plain constructor keeps classes without a centre out and has no linear layer; what the published
    program does instead is :meth:`published`, and on feature maps :meth:`published_dense`.

    The linear layer, if asked for, serves these losses only: they see the projected features, the classifier sees
    the plain ones. The published code has such a layer in the network itself, before the classifier, and merges the
    two for inference; here it stands beside the network and is dropped with the regularizer. So it can meet the losses
    without any change of the features, and is off unless asked for.

    With ``running_centers`` the centres are ``decay * sg(old) + (1 - decay) * P``, summed over the batches of all
    processes of a distributed run; the first centre of a class is taken as it is, and a class keeps its last centre,
    as a constant, through batches it is absent from (the published program, which has them off, starts from random
    centres and stops their gradient). In ``eval()`` the same centres are used and not stored. Without
    it a centre is that of the process's own batch, or by ``sync_centers`` of the batches of all processes; the gradient
    is then that of the process's own samples. With ``whole_batch`` centres and means are those of all processes in any case,
    gradients included.

    Buffers with ``running_centers``: ``centers`` [C, D] (D the linear layer's width, where it has another) and
    ``initialized`` bool [C], saved in checkpoints.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        intra_weight: weight of ``loss_intra``.
        c2c_weight: weight of ``loss_inter_c2c``.
        c2s_weight: weight of ``loss_inter_c2s``.
        linear_layer: put a learned linear layer (with bias) before the losses.
        linear_width: what the linear layer projects to; None: D.
        running_centers: average the centres over batches.
        decay: share of the old centre, from 0 to below 1.
        absent_as_zero: treat a class without a centre as one with a zero vector for its centre, as the published
            code does.
        c2c_margin: numerator of the threshold between centres.
        c2s_margin: numerator of the threshold between centres and samples.
        sync_centers: take a class's centre over the batches of all processes of a distributed run while training.
        intra_counts_ignored: the mean of ``loss_intra`` is taken over all samples, where those of weight 0 add 0: the more
            pixels are ignored, the smaller the term (published code).
        c2s_counts_ignored: ``loss_inter_c2s`` takes samples of weight 0 as samples of no class, which are pushed away from
            every centre, and counts all samples alike (published code).
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range.
    """

    centers: Tensor
    initialized: Tensor

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        intra_weight: float = 1.0,
        c2c_weight: float = 1.0,
        c2s_weight: float = 1.0,
        linear_layer: bool = False,
        running_centers: bool = False,
        decay: float = 0.9,
        absent_as_zero: bool = False,
        c2c_margin: float = 0.5,
        c2s_margin: float = 0.25,
        linear_width: int | None = None,
        sync_centers: bool = False,
        intra_counts_ignored: bool = False,
        c2s_counts_ignored: bool = False,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.intra_weight = self._weight("intra_weight", intra_weight)
        self.c2c_weight = self._weight("c2c_weight", c2c_weight)
        self.c2s_weight = self._weight("c2s_weight", c2s_weight)
        self.c2c_margin = self._weight("c2c_margin", c2c_margin)
        self.c2s_margin = self._weight("c2s_margin", c2s_margin)
        self.decay = self._momentum("decay", decay)
        self.running_centers = bool(running_centers)
        self.absent_as_zero = bool(absent_as_zero)
        self.sync_centers = bool(sync_centers)
        self.intra_counts_ignored = bool(intra_counts_ignored)
        self.c2s_counts_ignored = bool(c2s_counts_ignored)
        self.sees_ignored = self.c2s_counts_ignored
        if linear_width is not None and not linear_layer:
            raise ValueError(f"CAR: linear_width is {linear_width!r} without a layer: set linear_layer=True")
        self.width = self._whole_number("linear_width", self.feat_dim if linear_width is None else linear_width, 1)
        self.linear = nn.Linear(self.feat_dim, self.width) if linear_layer else nn.Identity()
        if self.running_centers:
            self.register_buffer("centers", torch.zeros(self.num_classes, self.width))
            self.register_buffer("initialized", torch.zeros(self.num_classes, dtype=torch.bool))

    @classmethod
    def published(cls, num_classes: int, feat_dim: int, **overrides: Any) -> CAR:
        """CAR as its published program sets it: absent classes as zero vectors, and a linear layer in front.

        The same from a config: ``dict(type="CAR", absent_as_zero=True, linear_layer=True)``. One difference is left:
        the published layer is a part of the network before the classifier, ours is beside it (see above).

        Source: edwardyehuang/CAR, ``car_core/utils.py`` and the layer that its models put before the losses; the terms'
        weights, margins and the absence of running centres are the constructor's defaults.

        Args:
            num_classes: number of classes C.
            feat_dim: length D of the features.
            **overrides: any argument of the constructor, also the two that are set here.

        Raises:
            ValueError: an argument is out of its range.
        """
        return cls(num_classes, feat_dim, **{"absent_as_zero": True, "linear_layer": True, **overrides})

    @classmethod
    def published_dense(cls, num_classes: int, feat_dim: int, **overrides: Any) -> CAR:
        """CAR as its published program sets it for feature maps.

        A linear layer (there a 1x1 convolution with bias) to min(D, 512) channels, absent classes as zero vectors, centres
        over the batches of all processes, and ignored pixels that count in the denominator of ``loss_intra`` and are not
        masked in ``loss_inter_c2s``. The same from a config: ``dict(type="CAR", linear_layer=True, linear_width=512,
        absent_as_zero=True, sync_centers=True, intra_counts_ignored=True, c2s_counts_ignored=True)``.

        Differences: the published layer is a part of the network before the classifier, ours is beside it; and its
        reduction over processes passes the gradient to the samples of all of them, ours does so with ``whole_batch`` alone,
        and then the means of the losses are over all processes too.

        Source: edwardyehuang/CAR at 97c90d4.

        Args:
            num_classes: number of classes C.
            feat_dim: channels D of the features.
            **overrides: any argument of the constructor, also those that are set here.

        Raises:
            ValueError: an argument is out of its range.
        """
        settings: dict[str, Any] = {
            "absent_as_zero": True,
            "linear_layer": True,
            "sync_centers": True,
            "intra_counts_ignored": True,
            "c2s_counts_ignored": True,
            **overrides,
        }
        if settings["linear_layer"]:
            settings.setdefault("linear_width", min(feat_dim, 512))
        return cls(num_classes, feat_dim, **settings)

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        features = self.linear(features)
        label_weights = targets.label_weights()
        centers, has_center = self._centers(features, targets, label_weights)
        # Without a single centre (no sample counts) the softmax would be over nothing; the terms are 0 there in the end.
        has_center = has_center | ~has_center.any()
        if self.absent_as_zero:
            has_center = torch.ones_like(has_center)
        terms = {
            "loss_intra": self.intra_weight * self._intra(features, targets, centers),
            "loss_inter_c2c": self.c2c_weight * self._center_to_center(centers, has_center),
            "loss_inter_c2s": self.c2s_weight
            * self._center_to_sample(features, targets, label_weights, centers, has_center),
        }
        return {name: targets.zero_without_samples(term) for name, term in terms.items()}

    def _centers(self, features: Tensor, targets: Targets, label_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Centres [C, width], zero where a class has none, and which classes have one, bool [C]."""
        totals = targets.class_totals(features, label_weights)
        if (self.running_centers or self.sync_centers) and self.training and not targets.whole_batch:
            # Value of all processes, gradient of this one.
            totals = sum_over_processes(totals) + (totals - totals.detach())
        sums, counts = totals.split([self.width, 1], dim=1)
        present = counts > 0
        centers = sums / torch.where(present, counts, torch.ones_like(counts))
        if self.running_centers:
            old, started = snapshot(self.centers), snapshot(self.initialized).unsqueeze(1)
            averaged = torch.where(started, self.decay * old + (1 - self.decay) * centers, centers)
            centers = torch.where(present, averaged, old)
            present = present | started
            if self.training:
                # A single NaN would stay in the centres for good; the losses of this step show it all the same.
                new = centers.detach()
                finite = new.isfinite().all(dim=1, keepdim=True)
                self.centers.copy_(torch.where(finite, new, old))
                self.initialized.copy_((present & finite | started).squeeze(1))
        return centers, present.squeeze(1)

    def _intra(self, features: Tensor, targets: Targets, centers: Tensor) -> Tensor:
        # A class with weight in a sample is present in the batch, so no absent class enters here.
        distance = (targets.pick(centers.detach()) - features).abs()
        mean = targets.mean_over_all(distance) if self.intra_counts_ignored else targets.mean(distance)
        return mean.square().clamp(min=INTRA_FLOOR)

    def _center_to_center(self, centers: Tensor, has_center: Tensor) -> Tensor:
        energies = centers @ centers.detach().T
        relation = self._relation(energies, has_center)
        is_other = ~torch.eye(self.num_classes, dtype=torch.bool, device=centers.device)
        excess = (relation - self.c2c_margin / (self.num_classes - 1)).relu() * is_other
        row_sums = excess.sum(dim=1).clamp(ROW_SUM_EPS, 1 - ROW_SUM_EPS)
        return ((row_sums * has_center).sum() / has_center.sum()).square()

    def _center_to_sample(
        self, features: Tensor, targets: Targets, label_weights: Tensor, centers: Tensor, has_center: Tensor
    ) -> Tensor:
        # Before any energy: with a gradient into P_y . P_y the term would mostly stretch or shrink the own centre.
        centers = centers.detach()
        if self.c2s_counts_ignored and targets.sample_weights is not None:
            label_weights = label_weights * (targets.sample_weights > 0).unsqueeze(1)
        other_weights = 1 - label_weights
        energies = other_weights * (features @ centers.T) + label_weights * centers.square().sum(dim=1)
        relation = self._relation(energies, has_center)
        excess = (relation - self.c2s_margin / (self.num_classes - 1)).relu() * other_weights
        row_sums = excess.sum(dim=1).clamp(ROW_SUM_EPS, 1 - ROW_SUM_EPS)
        return (targets.mean_of_all(row_sums) if self.c2s_counts_ignored else targets.mean(row_sums)).square()

    def _relation(self, energies: Tensor, has_center: Tensor) -> Tensor:
        """Row-wise softmax [*, C] over the classes that have a centre; 0 for the others, which is below any threshold."""
        return (energies / math.sqrt(self.width)).masked_fill(~has_center, -torch.inf).softmax(dim=1)

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, intra_weight={self.intra_weight}, c2c_weight={self.c2c_weight}, "
            f"c2s_weight={self.c2s_weight}, running_centers={self.running_centers}, decay={self.decay}, "
            f"absent_as_zero={self.absent_as_zero}, c2c_margin={self.c2c_margin}, c2s_margin={self.c2s_margin}, "
            f"sync_centers={self.sync_centers}, intra_counts_ignored={self.intra_counts_ignored}, "
            f"c2s_counts_ignored={self.c2s_counts_ignored}"
        )
