"""Semantic Anchor Regularization (SAR): features are pulled to anchors that the classifier itself tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sar_cls.given_anchors import draw_anchors
from sar_cls.regularizers.base import Classifier, Reading, Regularizer, squared_distance
from sar_cls.regularizers.classifier_call import without_gradient
from sar_cls.regularizers.targets import Targets
from sar_cls.regularizers.warm_up import LinearWarmUp

# Keeps the denominator of the anchor weights away from zero; the value of the published code.
WEIGHT_EPS = 1e-9
# The embeddings of the paper: for classification, and for segmentation.
EMBEDDINGS = ("linear", "linear+conv")


class SAR(Regularizer):
    """SAR (Ge et al. 2024, "Beyond Prototypes: Semantic Anchor Regularization for Better Representation Learning").

    Fixed class anchors A go through a small embedding h and the classifier of the images. Two losses:

    * ``loss_aux = aux_weight * sum_i w_i ce_i`` (Eq. 5-7): weighted cross-entropy of the embedded anchors h(A). With
      p_i the probability of the right class, set to 1 where it is above ``tau``,
      ``w_i = log p_i / (sum_j log p_j + 1e-9)``. It is exactly 0 when all anchors are above ``tau``. Its gradient
      reaches the embedding and the classifier, or, by ``aux_to_classifier=False``, the embedding alone.
    * ``loss_anchor = anchor_weight * mean over samples and channels of (F - Y A^)^2`` (Eq. 4), with the semantic
      anchors A^, an exponential moving average of h(A) (Eq. 8; the first accepted h(A) is copied as it is). Its
      gradient reaches the features only. With soft targets Y it is the gradient of the label-weighted sum of the
      losses to the single anchors.

    The gate says when A^ is updated and used. An anchor is accepted at a step where the classifier gives it the
    right class with a probability above ``delta``.

    * ``gate="all"`` (published code): only at steps where all anchors are accepted; at any other step nothing is
      updated and ``loss_anchor`` is 0.
    * ``gate="per_class"`` (the paper's sentence after Eq. 8, read by class): accepted classes alone are updated and
      used. A sample with label weights Y counts with the weight s that falls on accepted classes:
      ``s * (F - (Y A^) / s)^2``, 0 where s = 0.

    On feature maps the samples are the pixels that have a class, at the resolution of the features; ``sample_weights`` v
    make the mean over samples ``sum_i v_i d_i / sum_i v_i``, 0 where all are 0 (published code: the sum over valid pixels
    by their number and D). ``loss_aux`` and A^ depend on no sample.

    The embedding h is two blocks Linear-BatchNorm-ReLU (the paper's for classification, App. A.1), and with
    ``embedding="linear+conv"`` a third one whose linear layer has no bias: the paper's for segmentation, where it is a 1x1
    convolution on anchors of one pixel, with that convolution's initialisation (Kaiming-normal by fan-out).

    One difference to the published code: it takes the logarithm of a softmax, which is -inf once a probability underflows
    (logits some 104 apart in float32), and its weights and loss are NaN from then on. Here p_i comes from a log-softmax, so
    that such an anchor has a finite loss and a run goes on where the published one ends.

    In ``eval()`` the stored A^ is used as it is, where the gate is open and A^ has been started. Nothing of SAR runs
    at inference.

    Every part can be switched off alone: the pull by ``anchor_weight=0``, the auxiliary loss by ``aux_weight=0``, its
    gradient in the classifier by ``aux_to_classifier=False``, its weights by ``reweight=False``, the moving average by
    ``momentum=0``. The embedding goes together with the auxiliary loss that trains it: without both, the method is
    :class:`sar_cls.FixedAnchors` (the first rows of the paper's Tab. 7).

    How fast the parts learn has no names of its own. Under SGD a loss's weight is a factor of its share of each step, so
    ``aux_weight`` is also the learning rate of the auxiliary loss, in embedding and classifier, as a share of the
    model's. The embedding learns from that loss alone; its learning rate, which weight decay feels too, is that of its
    parameter group: ``{"params": sar.embedding.parameters(), "lr": 0.1 * lr}``, in a config
    ``paramwise_cfg=dict(custom_keys={"head.regularizer.embedding": dict(lr_mult=0.1)})``.

    In a distributed run all processes hold the same anchors: the first training step broadcasts the class anchors and
    the embedding from the first process (see :meth:`Regularizer.synchronize`), and h(A) depends on these and on the
    classifier alone, never on the batch.

    Buffers: ``class_anchors`` [C, D]; ``semantic_anchors`` [C, D], zero until started; ``initialized`` bool [C],
    which of them are started (all or none with ``gate="all"``); ``aux_warmup.count``, steps of the warm-up so far.
    Module: ``embedding``. All saved in checkpoints; older ones have no count and load.

    Args:
        num_classes: number of classes C.
        feat_dim: length D of the features.
        aux_weight: weight of ``loss_aux`` (the paper's lambda_1).
        anchor_weight: weight of ``loss_anchor`` (lambda_2).
        momentum: share of the old A^ in its moving average (alpha), from 0 to below 1.
        tau: anchors with a probability above it are left out of ``loss_aux``; 1 leaves out none.
        delta: probability above which an anchor is accepted.
        anchors: how A is drawn, a kind of :func:`sar_cls.anchors.class_anchors`; or given, by the names of the classes
            (the outlook of the paper's App. D.2), superclasses, a ``.npy`` file or a matrix [C, K], see
            :func:`sar_cls.given_anchors.draw_anchors`.
        gate: ``"all"`` or ``"per_class"``.
        grad_through_weights: whether the gradient of ``loss_aux`` also flows through w (published code) or w is a
            constant (paper).
        reweight: False takes the plain mean of the cross-entropies for ``loss_aux``, without w and ``tau`` (the rows
            above "+reweight" of the paper's Tab. 7).
        aux_to_classifier: False keeps the gradient of ``loss_aux`` out of the classifier, which then learns from
            images alone. No variant of the paper: it tells what the auxiliary loss does to the classifier from what
            it does to the anchors. The classifier must then be a module.
        aux_warmup: training steps over which ``aux_weight`` grows linearly, from 0 at the first step; 0 has it whole
            from the start, as published.
        seed: seed of A; ``None`` draws A from torch's global generator, which also initialises the embedding.
        ignore_index: label of the pixels of a feature map that have no class.
        embedding: ``"linear"`` (classification) or ``"linear+conv"`` (segmentation).
        class_names: C names in the order of the labels, for anchors from names.
        superclasses: the number of each class's superclass, for ``anchors="superclasses"``.

    Raises:
        ValueError: an argument is out of its range, or no such anchors exist for this C and D.

    Example:
        >>> sar = SAR(num_classes=10, feat_dim=64)
        >>> classifier = torch.nn.Linear(64, 10)
        >>> losses = sar(torch.randn(8, 64), torch.arange(8), classifier)
        >>> sorted(losses)
        ['loss_anchor', 'loss_aux']
    """

    readings = (
        Reading("share_above_tau", "Anchors above τ"),
        Reading("share_above_delta", "Anchors above δ"),
        Reading(
            "share_gate_open",
            "Steps with the gate open",
            in_record=True,
            remark_at_zero="SAR's gate was closed in the last tenth of the epochs: its anchors did not act",
        ),
        Reading("mean_loss_aux"),
        Reading("mean_loss_anchor"),
    )

    class_anchors: Tensor
    semantic_anchors: Tensor
    initialized: Tensor
    _sums: Tensor

    def __init__(
        self,
        num_classes: int,
        feat_dim: int,
        aux_weight: float = 1.0,
        anchor_weight: float = 0.1,
        momentum: float = 0.999,
        tau: float = 0.9,
        delta: float = 0.8,
        anchors: str | np.ndarray | Tensor = "normal",
        gate: str = "all",
        grad_through_weights: bool = True,
        reweight: bool = True,
        aux_to_classifier: bool = True,
        aux_warmup: int = 0,
        seed: int | None = None,
        ignore_index: int = 255,
        embedding: str = "linear",
        class_names: Sequence[str] | None = None,
        superclasses: Sequence[int] | None = None,
    ) -> None:
        super().__init__(num_classes, feat_dim, ignore_index)
        self.aux_weight = self._weight("aux_weight", aux_weight)
        self.anchor_weight = self._weight("anchor_weight", anchor_weight)
        self.momentum = self._momentum("momentum", momentum)
        self.tau = self._probability("tau", tau)
        self.delta = self._probability("delta", delta)
        self.anchors = anchors if isinstance(anchors, str) else "given"
        self.gate = self._one_of("gate", gate, ("all", "per_class"))
        self.embedding_kind = self._one_of("embedding", embedding, EMBEDDINGS)
        self.grad_through_weights = bool(grad_through_weights)
        self.reweight = bool(reweight)
        self.aux_to_classifier = bool(aux_to_classifier)
        self.aux_warmup = LinearWarmUp(self._whole_number("aux_warmup", aux_warmup, 0))

        shape = (self.num_classes, self.feat_dim)
        # copy_ into a fresh tensor, so that torch's default device and dtype apply as they do to parameters.
        drawn = draw_anchors(anchors, *shape, seed, class_names, superclasses)
        self.register_buffer("class_anchors", torch.empty(shape).copy_(drawn))
        self.register_buffer("semantic_anchors", torch.zeros(shape))
        self.register_buffer("initialized", torch.zeros(self.num_classes, dtype=torch.bool))
        # Sums since the last reset: steps, shares above tau and delta, open gates, loss_aux, loss_anchor.
        self.register_buffer("_sums", torch.zeros(6), persistent=False)
        blocks = [*_linear_block(self.feat_dim), *_linear_block(self.feat_dim)]
        if self.embedding_kind == "linear+conv":
            blocks += _conv_block(self.feat_dim)
        self.embedding = nn.Sequential(*blocks)

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        embedded = self.embedding(self.class_anchors)
        logits = self._classify(embedded, classifier)
        log_probs = logits.log_softmax(dim=1).diagonal()
        probs = log_probs.detach().exp()
        is_right = logits.detach().argmax(dim=1) == torch.arange(self.num_classes, device=logits.device)
        accepted = is_right & (probs > self.delta)

        loss_aux = self.aux_weight * self.aux_warmup(log_probs.dtype) * self._aux_loss(log_probs, probs)
        gate = accepted.all().expand_as(accepted) if self.gate == "all" else accepted
        if self.training:
            semantic_anchors = self._update_semantic_anchors(embedded, gate)
        else:
            semantic_anchors, gate = self.semantic_anchors, gate & self.initialized
        loss_anchor = self.anchor_weight * self._anchor_loss(features, targets, semantic_anchors, gate)
        if self.training:
            self._record(probs, accepted, gate, loss_aux, loss_anchor)
        return {"loss_aux": loss_aux, "loss_anchor": loss_anchor}

    def _classify(self, embedded: Tensor, classifier: Classifier | None) -> Tensor:
        if not callable(classifier):
            raise ValueError(
                "SAR: the classifier is missing: pass the module that maps features [*, D] to logits [*, C]"
            )
        called = classifier if self.aux_to_classifier else without_gradient(classifier)
        if called is None:
            raise ValueError(
                "SAR: aux_to_classifier=False needs to know the classifier's parameters: pass the classifier as a module"
            )
        logits = called(embedded)
        if logits.shape != (self.num_classes, self.num_classes):
            raise ValueError(
                f"SAR: the classifier gives {list(logits.shape)} for {list(embedded.shape)}: "
                f"pass one that maps [*, {self.feat_dim}] to [*, {self.num_classes}]"
            )
        return logits.to(embedded.dtype)

    def _aux_loss(self, log_probs: Tensor, probs: Tensor) -> Tensor:
        """Eq. 5-7 from the log-probabilities of the right classes [C]."""
        if not self.reweight:
            return -log_probs.mean()
        counted = torch.where(probs > self.tau, torch.zeros_like(log_probs), log_probs)
        # The sum is at most 0, so the published "+ 1e-9" alone would have a pole at -1e-9 (reached only with tau =
        # 1). The clamp leaves the value as published below -2e-9. Where nothing counts all weights are 0, and so is
        # the loss with its gradient.
        weights = counted / (counted.sum() + WEIGHT_EPS).clamp(max=-WEIGHT_EPS)
        if not self.grad_through_weights:
            weights = weights.detach()
        return -(weights * log_probs).sum()

    @torch.no_grad()
    def _update_semantic_anchors(self, embedded: Tensor, gate: Tensor) -> Tensor:
        """Moves A^ of the classes in ``gate`` [C] and returns it (Eq. 8), without gradient."""
        averaged = self.momentum * self.semantic_anchors + (1 - self.momentum) * embedded
        moved = torch.where(self.initialized.unsqueeze(1), averaged, embedded)
        # The losses use this new tensor, not the buffer, which may be written again before the backward pass.
        semantic_anchors = torch.where(gate.unsqueeze(1), moved, self.semantic_anchors)
        self.semantic_anchors.copy_(semantic_anchors)
        self.initialized.logical_or_(gate)
        return semantic_anchors

    def _anchor_loss(self, features: Tensor, targets: Targets, anchors: Tensor, gate: Tensor) -> Tensor:
        """Eq. 4 over the classes in ``gate`` [C]."""
        if self.gate == "all":
            distance = squared_distance(features, targets, anchors)
            return torch.where(gate.all(), distance, torch.zeros_like(distance))
        share = targets.weight_on(gate).unsqueeze(1)
        is_used = share > 0
        # where() before and after: neither the quotient nor its gradient may be 0 / 0 in a sample without an
        # accepted class.
        target = targets.pick(gate.unsqueeze(1) * anchors) / torch.where(is_used, share, torch.ones_like(share))
        distance = share * (features - target).square()
        return targets.mean(torch.where(is_used, distance, torch.zeros_like(distance)))

    @torch.no_grad()
    def _record(self, probs: Tensor, accepted: Tensor, gate: Tensor, loss_aux: Tensor, loss_anchor: Tensor) -> None:
        dtype = self._sums.dtype
        above_tau = (probs > self.tau).to(dtype).mean()
        above_delta = accepted.to(dtype).mean()
        is_open = gate.any().to(dtype)
        self._sums.add_(
            torch.stack(
                [torch.ones_like(is_open), above_tau, above_delta, is_open, loss_aux.detach(), loss_anchor.detach()]
            )
        )

    def diagnostics(self, reset: bool = True) -> dict[str, float]:
        """Means over the training steps since the last reset; NaN where there was none. Waits for the device: call
        it between steps.

        The paper reports (after Eq. 7) that the embedding soon moves at few steps only; these figures show it.

        Args:
            reset: start anew after reading.

        Returns:
            ``share_above_tau``: share of anchors with a probability above tau. ``share_above_delta``: share of
            accepted anchors (right class, probability above delta). ``share_gate_open``: share of steps at which A^
            was used for at least one class (with ``gate="all"``, for all). ``mean_loss_aux``, ``mean_loss_anchor``:
            means of the weighted losses, closed steps counted as 0.
        """
        steps, *sums = self._sums.tolist()
        if reset:
            self._sums.zero_()
        names = ("share_above_tau", "share_above_delta", "share_gate_open", "mean_loss_aux", "mean_loss_anchor")
        return {name: value / steps if steps else float("nan") for name, value in zip(names, sums, strict=True)}

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, aux_weight={self.aux_weight}, anchor_weight={self.anchor_weight}, "
            f"momentum={self.momentum}, tau={self.tau}, delta={self.delta}, anchors={self.anchors!r}, "
            f"gate={self.gate!r}, grad_through_weights={self.grad_through_weights}, reweight={self.reweight}, "
            f"aux_to_classifier={self.aux_to_classifier}, embedding={self.embedding_kind!r}"
        )


def _linear_block(width: int) -> tuple[nn.Module, ...]:
    """One LinearModule of the paper's classification embedding (App. A.1)."""
    return nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()


def _conv_block(width: int) -> tuple[nn.Module, ...]:
    """The 1x1 ConvModule that the published segmentation code has behind the two: on one pixel it is a linear layer."""
    linear = nn.Linear(width, width, bias=False)
    nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
    return linear, nn.BatchNorm1d(width), nn.ReLU()
