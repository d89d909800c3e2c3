"""Second stages that train nothing: the classifier or the logits of a first stage are corrected in closed form."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from sar_cls.engine.features import anchors_in, keep_features, net_features
from sar_cls.engine.first_stage import FirstStage
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.results import outcome
from sar_cls.errors import InputError
from sar_cls.metrics import mean_class_accuracy
from sar_cls.metrics.correction import (
    ANCHOR_DISTANCES,
    adjust_logits,
    anchor_logits,
    mixed_log_probabilities,
    tau_normalized_linear,
)
from sar_cls.mm.loaders import DataSplits, test_loader
from sar_cls.mm.loops import predict, predict_with_features
from sar_cls.mm.second_stage import first_stage_weights
from sar_cls.steps.precision import exact_float32

# Kind of correction -> how its config calls its strength, and the largest that is tried where a validation split can choose, in
# steps of 0.1 (the program of Kang et al. 2020 goes to 2; a share is at most 1).
_STRENGTHS = {"tau_norm": ("tau", 2), "logit_adjustment": ("tau", 2), "nearest_anchor": ("share", 1)}


def execute(planned: PlannedRun, splits: DataSplits) -> dict[str, Any]:
    """Applies ``config.posthoc``: ``dict(type="tau_norm" | "logit_adjustment", tau=1.0)``, or ``dict(type="nearest_anchor",
    distance="cosine" | "euclidean", share=1.0)``, the share that anchors have beside the softmax.

    With a validation split ``tau`` is the value from 0, 0.1 ... 2, or ``share`` that from 0, 0.1 ... 1, with the best mean
    accuracy of the classes there (it has the long tail of the training images, by which plain accuracy is best without any
    correction); without one it is the config's.

    Raises:
        InputError: an unknown type, or a first stage that has no anchors.
    """
    first = planned.first
    assert first is not None  # a row without one is refused where it is resolved
    if planned.is_dense:
        raise InputError(
            f"{planned.suite}/{planned.row}: posthoc corrects classifiers, and this is a segmentation net; take it out"
        )
    config, device, precision = planned.config, torch.device(planned.options.device), planned.precision
    exact_float32()
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
    model.load_state_dict(first_stage_weights(first.state_dict, model, str(first.folder)), strict=False)
    model.to(device).to(memory_format=torch.channels_last)
    linear, counts = model.head.fc, splits.train.counts
    kind, distance = config.posthoc.type, config.posthoc.get("distance", "cosine")
    if kind not in _STRENGTHS:
        raise InputError(f"unknown posthoc type {kind!r}: choose one of {', '.join(_STRENGTHS)}")
    if distance not in ANCHOR_DISTANCES:
        raise InputError(f"unknown distance {distance!r}: choose one of {', '.join(ANCHOR_DISTANCES)}")
    anchors = _anchors_of(first).to(device) if kind == "nearest_anchor" else None

    def corrected(part: Any, tau: float) -> Tensor:
        loader = test_loader(part, config.val_dataloader, device)
        if anchors is not None:
            logits, features = predict_with_features(model, loader, precision)
            return mixed_log_probabilities(logits, anchor_logits(features, anchors, distance), tau)
        if kind == "tau_norm":
            model.head.fc = tau_normalized_linear(linear, tau)
            return predict(model, loader, precision)
        return adjust_logits(predict(model, loader, precision), counts, tau)

    strength, largest = _STRENGTHS[kind]
    tau = config.posthoc.get(strength, 1.0)
    if kind == "nearest_anchor" and not 0 <= tau <= 1:
        raise InputError(f"share is {tau}: give a number from 0, the softmax alone, to 1, the anchors alone")
    if splits.val is not None:
        labels = splits.val.labels.to(device)
        tried = [step / 10 for step in range(10 * largest + 1)]
        tau = max(tried, key=lambda value: mean_class_accuracy(corrected(splits.val, value), labels))
    parts = {"test": splits.test} if splits.val is None else {"test": splits.test, "val": splits.val}
    logits = {split: dict.fromkeys(("last", "best"), corrected(part, tau)) for split, part in parts.items()}
    result = outcome(planned, splits, logits, device, precision, [], best_epoch=0)
    run_id, extra = uuid.uuid4().hex, {strength: tau}
    if planned.options.features and anchors is None:  # with anchors net and classifier are those of the first stage
        model.head.fc = _corrected_classifier(linear, kind, tau, counts)
        train = test_loader(splits.train, config.val_dataloader, device)
        _, features = predict_with_features(model, test_loader(splits.test, config.val_dataloader, device), precision)
        found = net_features(model, features, train, precision, anchors={})
        own, trained_on = splits.test.labels, splits.train.labels
        extra |= keep_features(planned.run_dir, run_id, found, logits["test"]["last"], own, trained_on)
    return {**result, "run_id": run_id, "extra": extra}


def _anchors_of(first: FirstStage) -> Tensor:
    """The semantic anchors [C, D] of a first stage with SAR, or the class anchors of one with fixed anchors.

    Raises:
        InputError: it has none, or its gate never opened for some class.
    """
    found = anchors_in(first.state_dict)
    if "semantic_anchors" in found:
        if not bool(found["initialized"].all()):
            unset = int((~found["initialized"]).sum())
            raise InputError(
                f"{first.folder}: SAR's gate never opened for {unset} classes: there are no anchors to classify by"
            )
        return found["semantic_anchors"]
    if "class_anchors" not in found:
        raise InputError(f"{first.folder} has no anchors: give a first stage that was trained with SAR or FixedAnchors")
    return found["class_anchors"]


def _corrected_classifier(linear: Any, kind: str, tau: float, counts: list[int]) -> Any:
    """The classifier that gives the corrected logits; an adjustment of the logits is one of the bias."""
    if kind == "tau_norm":
        return tau_normalized_linear(linear, tau)
    adjusted = copy.deepcopy(linear)
    bias = torch.zeros_like(linear.weight[:, 0]) if linear.bias is None else linear.bias.detach()
    adjusted.bias = torch.nn.Parameter(adjust_logits(bias, counts, tau))
    return adjusted
