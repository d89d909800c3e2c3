"""What a run keeps of the features that its net makes of the images after the last epoch.

Those of the test images come along with the evaluation. Those of the training images cost one forward pass over the images that
were trained on, each once, without augmentation and with batch norm's running statistics: about a third of an epoch, once a run.
They are held in memory until the statistics of the classes are computed, 200 MB for 50,000 images of 1,000 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sar_cls.metrics.class_statistics import class_statistics
from sar_cls.mm.loops import predict_with_features
from sar_cls.models import CalibratedLinear, CosineLinear, FixedLinear, ScaledLinear
from sar_cls.runs.features import Features, write_features
from sar_cls.runs.geometry import ENTRY, geometry_of


@dataclass(frozen=True)
class NetFeatures:
    """Features and class vectors of a net, on the CPU.

    Attributes:
        test: float32 [n, D] of the test images.
        train: float32 [m, D] of the training images.
        weight: float32 [C, D] of the classifier; None for one that has no vectors of classes.
        bias: float32 [C] or None.
        cosine: whether the classifier takes cosines.
        anchors: buffers of the regularizer by name: ``semantic_anchors`` with ``initialized``, ``class_anchors``.
    """

    test: Tensor
    train: Tensor
    weight: Tensor | None
    bias: Tensor | None
    cosine: bool
    anchors: dict[str, Tensor]


def net_features(
    model: Any, test: Tensor, train_loader: Any, precision: str, anchors: dict[str, Tensor], *, shared: bool = False
) -> NetFeatures:
    """Evaluates the training images, and copies what training goes on to change.

    Args:
        model: the classifier, with the weights of the last epoch.
        test: float [n, D], the features of the test images.
        train_loader: goes through the training images once, in order.
        precision: of the evaluation.
        anchors: see :func:`anchors_in`.
        shared: whether all processes of the run evaluate a part each.
    """
    _, train = predict_with_features(model, train_loader, precision, shared=shared)
    weight, bias = classifier_vectors(model.head.fc)
    return NetFeatures(
        test.cpu(), train.cpu(), weight, bias, isinstance(model.head.fc, (CosineLinear, FixedLinear)), anchors
    )


def anchors_in(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the anchors in a model's state dict, on the CPU: of SAR both kinds, of FixedAnchors the pre-defined ones."""
    names = ("semantic_anchors", "initialized", "class_anchors")
    found = {name: state.get(f"head.regularizer.{name}") for name in names}
    return {name: value.detach().cpu().clone() for name, value in found.items() if value is not None}


@torch.no_grad()
def classifier_vectors(classifier: Any) -> tuple[Tensor | None, Tensor | None]:
    """Weight [C, D] and bias [C] that give the logits: learnable scaling is multiplied in. Copies on the CPU.

    A calibrated classifier gives every image other ones, and so has none.
    """
    if isinstance(classifier, CalibratedLinear):
        return None, None
    weight, bias = classifier.weight.float(), getattr(classifier, "bias", None)
    if isinstance(classifier, ScaledLinear):
        scale = classifier.scaling.scale
        weight, bias = scale[:, None] * weight, None if bias is None else scale * bias
    return weight.cpu().clone(), None if bias is None else bias.float().cpu().clone()


def keep_features(
    run_dir: Path, run_id: str, found: NetFeatures, logits: Tensor, test_labels: Tensor, train_labels: Tensor
) -> dict[str, Any]:
    """Writes ``features.npz`` and returns what the record says of it.

    Args:
        run_dir: of the run.
        run_id: of the run.
        found: the features.
        logits: [n, C] of the test images, at the last epoch.
        test_labels: [n].
        train_labels: [m].

    Returns:
        ``{"geometry": ...}`` for the record's ``extra``.

    Raises:
        RuntimeError: the features are not finite, the run has diverged.
    """
    if not bool(found.test.isfinite().all() and found.train.isfinite().all()):
        raise RuntimeError(
            "the network has diverged, its features are not finite: lower the learning rate and move the folder "
            f"{run_dir} away to start this run over"
        )
    train = class_statistics(found.train.numpy(), train_labels.cpu().numpy(), logits.shape[1])
    anchors = {name: value.numpy() for name, value in found.anchors.items()}
    features = Features(
        test_features=found.test.numpy(),
        test_labels=test_labels.cpu().numpy(),
        test_predictions=logits.cpu().float().numpy().argmax(axis=1),
        train_class_means=train.means.astype(np.float32),
        train_class_counts=train.counts,
        train_class_directions=train.directions.astype(np.float32),
        train_class_variances=train.variances.astype(np.float32),
        train_class_collapse=train.collapse.astype(np.float32),
        classifier_weight=None if found.weight is None else found.weight.numpy(),
        classifier_bias=None if found.bias is None else found.bias.numpy(),
        cosine_classifier=found.cosine,
        semantic_anchors=anchors.get("semantic_anchors"),
        anchors_set=anchors.get("initialized"),
        class_anchors=anchors.get("class_anchors"),
        run_id=run_id,
    )
    write_features(run_dir, features)
    return {ENTRY: geometry_of(features, train.counts.tolist())}
