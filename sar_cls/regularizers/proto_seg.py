"""ProtoSeg: features gather round several prototypes a class, which are averages of the features that are assigned to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sar_cls.regularizers.base import Classifier, Regularizer, sum_over_processes
from sar_cls.regularizers.classifier_call import HALF, ModuleCall
from sar_cls.regularizers.nearest_prototypes import NearestPrototypes
from sar_cls.regularizers.targets import Targets

# How a feature that moves a prototype is assigned to it.
ASSIGNMENTS = ("gumbel", "likeliest")


class ProtoSeg(Regularizer):
    """The losses and the moving prototypes of Zhou et al., "Rethinking Semantic Segmentation: A Prototype View", CVPR 2022
    (https://arxiv.org/abs/2203.15102), as in their published code (tfzhou/ProtoSeg).

    It goes with a classifier of its own, :class:`NearestPrototypes`, and is no entry of ``REGULARIZERS`` therefore;
    a decode head takes both by ``classifier=dict(type="protoseg")``. With x_i a feature of length one, p_{c,m} the M prototypes
    of class c, and y_i the class:

    - Within each class the features are assigned to its prototypes in equal shares: ``plan = exp(x_i . p_{y_i,m} / epsilon)``,
      three times brought to equal sums over the features for each m, then to sum 1 over m (Sinkhorn and Knopp). m_i is the
      largest entry of a row.
    - ``loss_ppc = contrast_weight * mean_i -log( exp(x_i . p_{y_i,m_i} / temperature) / sum over all c, m of
      exp(x_i . p_{c,m} / temperature) )``: pixel-prototype contrast.
    - ``loss_ppd = distance_weight * mean_i (1 - x_i . p_{y_i,m_i})^2``: pixel-prototype distance.
    - In training mode each prototype that got at least one feature of those that the classifier gets right becomes
      ``momentum * p + (1 - momentum) * mean`` of these, where the mean and then the prototype are brought to length one. A
      feature's prototype is here drawn as a hard Gumbel-softmax of its row of the plan (which is taken for logits, as in the
      published code), or with ``assignment="likeliest"`` it is m_i.

    Weights and temperature are the published code's for Cityscapes; what the paper's text has instead was not checked. Soft targets
    and sample weights are our reading: a sample with label weights Y_i counts as C samples, one a class, weighted by Y_ic, and
    weights multiply the samples in all sums. The published code averages the prototypes of several processes; here their sums of
    features are added up, so that all have the same prototypes. Shares within a class are those of one process, with
    ``whole_batch`` those of all.

    In memory the cosines of N pixels to all prototypes are N C M numbers: 0.19 GiB in float32 for 8 maps of 128 x 256 and 19
    classes, as against 0.5 GiB for 512 channels of features. Classifier and losses compute them on their own, so that there are
    two, and more of that size in passing; what was measured stands in :mod:`sar_cls.dense`.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        contrast_weight: weight of ``loss_ppc``.
        distance_weight: weight of ``loss_ppd``.
        momentum: of the prototypes.
        temperature: above 0; the published code has none, which is 1.
        epsilon: above 0; how soft the assignment is.
        iterations: of Sinkhorn and Knopp, at least 1.
        assignment: ``"gumbel"`` or ``"likeliest"``, see above.
        ignore_index: label of the pixels of a feature map that have no class.

    Raises:
        ValueError: an argument is out of its range; in a step: another classifier, or one in another precision.

    Example:
        >>> embedding, classifier = PrototypeEmbedding(720), NearestPrototypes(720, 19)
        >>> proto_seg = ProtoSeg(num_classes=19, feat_dim=720)
        >>> features = embedding(maps)  # [N, 720, H, W]
        >>> scores = F.interpolate(classifier(features), masks.shape[1:], mode="bilinear")
        >>> loss = F.cross_entropy(scores, masks, ignore_index=255)
        >>> loss = loss + sum(proto_seg(features, masks, classifier).values())  # and moves the prototypes
    """

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        contrast_weight: float = 0.01,
        distance_weight: float = 0.001,
        momentum: float = 0.999,
        temperature: float = 1.0,
        epsilon: float = 0.05,
        iterations: int = 3,
        assignment: str = "gumbel",
        ignore_index: int = 255,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.contrast_weight = self._weight("contrast_weight", contrast_weight)
        self.distance_weight = self._weight("distance_weight", distance_weight)
        self.momentum = self._momentum("momentum", momentum)
        self.temperature = self._above_0("temperature", temperature)
        self.epsilon = self._above_0("epsilon", epsilon)
        self.iterations = self._whole_number("iterations", iterations, 1)
        self.assignment = self._one_of("assignment", assignment, ASSIGNMENTS)

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        nearest = self._prototypes_of(classifier, targets.dtype)
        features, targets = _one_class_each(F.normalize(features, dim=1), targets)
        assert targets.labels is not None
        similarities = nearest.similarities_of_unit(features)
        place = targets.labels.view(-1, 1, 1).expand(-1, 1, nearest.per_class)
        own = similarities.gather(1, place).squeeze(1)
        with torch.no_grad():
            plan = equal_shares(own, targets, self.epsilon, self.iterations)
            if self.training:
                self._move(nearest, features, targets, plan, similarities)
        to_its_prototype = own.gather(1, plan.argmax(dim=1, keepdim=True)).squeeze(1)
        # Divided by 1 they would be copied, and kept for the backward pass.
        to_all = similarities if self.temperature == 1 else similarities / self.temperature
        return {
            "loss_ppc": self.contrast_weight
            * targets.mean(torch.logsumexp(to_all.flatten(1), dim=1) - to_its_prototype / self.temperature),
            "loss_ppd": self.distance_weight * targets.mean((1 - to_its_prototype).square()),
        }

    def _move(
        self, nearest: NearestPrototypes, features: Tensor, targets: Targets, plan: Tensor, similarities: Tensor
    ) -> None:
        assert targets.labels is not None
        counts = (nearest.scores(similarities).argmax(dim=1) == targets.labels).to(plan.dtype)
        if targets.sample_weights is not None:
            counts = counts * targets.sample_weights
        if self.assignment == "gumbel":
            plan = plan - torch.empty_like(plan).exponential_().log()
        number = self.num_classes * nearest.per_class
        chosen = targets.labels * nearest.per_class + plan.argmax(dim=1)
        # One-hot rows are multiplied: the sums are then the same at every run on a GPU too, where adding by index is not.
        weights = (chosen.unsqueeze(1) == torch.arange(number, device=chosen.device)) * counts.unsqueeze(1)
        sums = sum_over_processes(torch.cat([weights.T @ features, weights.sum(dim=0).unsqueeze(1)], dim=1))
        old = nearest.prototypes.flatten(0, 1)
        moved = self.momentum * old + (1 - self.momentum) * F.normalize(sums[:, :-1], dim=1)
        # A single NaN would stay in the prototypes for good; the losses of this step show it all the same.
        moves = (sums[:, -1:] > 0) & moved.isfinite().all(dim=1, keepdim=True)
        new = F.normalize(torch.where(moves, moved, old), dim=1)
        nearest.prototypes.copy_(new.view_as(nearest.prototypes))

    def _prototypes_of(self, classifier: Classifier | None, dtype: torch.dtype) -> NearestPrototypes:
        module = classifier.module if isinstance(classifier, ModuleCall) else classifier
        if not isinstance(module, NearestPrototypes):
            raise ValueError(
                f"ProtoSeg: the classifier is a {type(module).__name__}: give NearestPrototypes, whose prototypes it moves"
            )
        if (module.out_features, module.in_features) != (self.num_classes, self.feat_dim):
            raise ValueError(
                f"ProtoSeg: the classifier has {module.out_features} classes and {module.in_features} features: give one of "
                f"{self.num_classes} and {self.feat_dim}"
            )
        if module.prototypes.dtype in HALF:
            raise ValueError(
                f"ProtoSeg: the prototypes are in {module.prototypes.dtype}, in which an average with momentum "
                f"{self.momentum} does not move: keep the classifier in float32"
            )
        if module.prototypes.dtype != dtype:
            raise ValueError(
                f"ProtoSeg: the prototypes are in {module.prototypes.dtype} and the losses in {dtype}: convert the classifier "
                f"by .{'double' if dtype == torch.float64 else 'float'}()"
            )
        return module

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, contrast_weight={self.contrast_weight}, distance_weight={self.distance_weight}, "
            f"momentum={self.momentum}"
        )


def equal_shares(similarities: Tensor, targets: Targets, epsilon: float, iterations: int) -> Tensor:
    """Assigns the samples of each class to its M prototypes, softly and in equal shares (Sinkhorn and Knopp).

    Args:
        similarities: [N, M], to the prototypes of the own class, at most 1.
        targets: hard labels, and weights of the samples; one of weight 0 takes no share.
        epsilon: above 0; small is hard. In float32 a cosine below ``1 - 80 * epsilon`` counts as that, which is below any for the
            published 0.05, and for all down to 0.025.
        iterations: at least 1.

    Returns:
        [N, M], rows that sum to 1.
    """
    labels = targets.label_weights()
    # About exp(-80) in float32: below what the published epsilon reaches, and above what a device may take for 0, so that no row
    # is all 0.
    least = 1e3 * torch.finfo(similarities.dtype).tiny
    plan = ((similarities - 1) / epsilon).exp().clamp_min(least)
    for _ in range(iterations):
        shares = targets.class_totals(plan, labels)[:, :-1]
        plan = (plan / targets.pick(torch.where(shares > 0, shares, 1))).clamp_min(least)
        plan = plan / plan.sum(dim=1, keepdim=True)
    return plan


def _one_class_each(features: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """Soft targets [N, C] as N C samples with a class each, weighted by what they had of it; hard ones as they are."""
    if targets.soft is None:
        return features, targets
    num_samples, num_classes = targets.soft.shape
    weights = targets.soft
    if targets.sample_weights is not None:
        weights = weights * targets.sample_weights.unsqueeze(1)
    labels = torch.arange(num_classes, device=features.device).repeat(num_samples)
    spread = Targets(
        num_classes, targets.dtype, labels=labels, sample_weights=weights.flatten(), whole_batch=targets.whole_batch
    )
    return features.repeat_interleave(num_classes, dim=0), spread
