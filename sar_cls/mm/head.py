"""The linear classification head of mmpretrain with a regularizer beside its classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmpretrain.evaluation.metrics import Accuracy
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.mm.losses import register_losses
from sar_cls.models import CalibratedLinear, CosineLinear, FixedLinear, ScaledLinear
from sar_cls.regularizers import REGULARIZERS
from sar_cls.regularizers.arguments import check_arguments
from sar_cls.regularizers.base import CLASSIFICATION_LOSS, Regularizer

# How features become logits: a linear layer; one with learnable weight scaling; cosines times a constant, learned or fixed; a
# linear layer whose scores are calibrated (DisAlign).
CLASSIFIERS = {"scaled": ScaledLinear, "cosine": CosineLinear, "fixed": FixedLinear, "disalign": CalibratedLinear}


def _linear_batch_norm(width: int) -> nn.Module:
    norm = nn.BatchNorm1d(width)
    norm.weight.requires_grad_(False)  # of what comes out only the direction counts
    return nn.Sequential(nn.Linear(width, width), norm)


# What may stand before the classifier. Behind any of them features may be negative, as they are not behind a ReLU: class vectors
# that are fixed have coordinates of both signs, and none is reached without.
FEATURE_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda width: nn.Linear(width, width),
    "batch_norm": nn.BatchNorm1d,
    "linear_batch_norm": _linear_batch_norm,
}
# What may stand behind or in place of the 1x1 convolution of a decode head (sar_cls.mm.seg.classifiers).
PIXEL_CLASSIFIERS = ("disalign", "protoseg")


def stack_targets(data_samples: Tensor | list[DataSample]) -> Tensor:
    """Labels [N] or soft labels [N, C], from this project's batched pipeline (a tensor) or from a list of DataSample."""
    if isinstance(data_samples, Tensor):
        return data_samples
    if "gt_score" in data_samples[0]:  # mixup or cutmix of mmpretrain's BatchAugments
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])


def build_regularizer(config: dict[str, Any] | nn.Module | None, num_classes: int, feat_dim: int) -> nn.Module | None:
    """Builds ``dict(type="SAR", ...)``; ``num_classes`` and ``feat_dim`` come from the head.

    Construction draws from a copy of the random state, started anew from a number drawn there: the rest of the model gets
    the same initial weights with and without a regularizer, so that runs of one seed are paired, and anchors are not the
    numbers that the first layer is drawn from.

    Raises:
        ValueError: no dict, an unknown ``type``, or an argument that it does not take.
    """
    if config is None or isinstance(config, nn.Module):
        return config
    if not isinstance(config, dict):
        raise ValueError(f'the regularizer is {config!r}: write one as dict(type="SAR")')
    arguments = dict(config)
    name = arguments.pop("type", None)
    if not isinstance(name, str) or name not in REGULARIZERS:
        known = str(name).lower()
        if known in PIXEL_CLASSIFIERS:
            raise ValueError(f'{name} is no regularizer: in a decode head write classifier=dict(type="{known}")')
        raise ValueError(
            f"unknown regularizer {name!r}: choose one of {', '.join(sorted(REGULARIZERS))}, or name the module of your own in "
            "custom_imports"
        )
    check_arguments(REGULARIZERS[name], arguments)
    with apart_from_the_model():
        built = REGULARIZERS[name](num_classes=num_classes, feat_dim=feat_dim, **arguments)
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"{name} of REGULARIZERS gives a {type(built).__name__}: enter a class derived from Regularizer"
        )
    if isinstance(built, Regularizer) and type(built).losses is Regularizer.losses:
        raise ValueError(f"{name} has no method losses(features, targets, classifier): write it")
    return built


@contextmanager
def apart_from_the_model() -> Iterator[None]:
    """What is constructed inside draws from a copy of the random state, started anew from a number drawn there."""
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: torch.manual_seed would start those of the GPUs anew, which fork_rng does not give back.
        torch.default_generator.manual_seed(int(torch.randint(2**62, ())))
        yield


def is_protoseg(classifier: Any) -> bool:
    """Whether a decode head's entry ``classifier`` asks for prototypes, which are no linear classifier."""
    return isinstance(classifier, dict) and classifier.get("type") == "protoseg"


def head_of(model: Any) -> Any:
    """The head whose classifier gives the result: a classifier's, a segmentor's, or the last of a segmentor's cascade."""
    head = getattr(model, "head", None)
    if head is None:
        head = getattr(model, "decode_head", None)
    return head[-1] if isinstance(head, nn.ModuleList) else head


def _check_features(features: Tensor, feat_dim: int) -> None:
    if features.ndim != 2:
        raise InputError(
            f"the net gives the head feature maps {list(features.shape)} instead of features [N, {feat_dim}]: write "
            'neck=dict(type="GlobalAveragePooling") beside its backbone'
        )
    if features.shape[1] != feat_dim:
        raise InputError(
            f"the net gives the head {features.shape[1]} features and model.head.in_channels is {feat_dim}: correct it"
        )


@MODELS.register_module()
class RegularizedLinearClsHead(LinearClsHead):
    """``LinearClsHead`` whose features are regularized while training.

    What enters the classifier, features [N, D], goes through the regularizer together with the targets and the classifier
    itself; its losses join the classification loss. Nothing of it runs at inference, and ``regularizer=None`` is
    ``LinearClsHead``: the same parameters, initial weights and loss.

    Args:
        num_classes: C.
        in_channels: D, the channels of the features.
        regularizer: ``dict(type=NAME, ...)`` with a name of ``sar_cls.REGULARIZERS``, a module, or None.
        classifier: None for the linear layer of ``LinearClsHead``; ``dict(type="scaled", ...)`` for
            :class:`sar_cls.models.ScaledLinear`; ``dict(type="cosine", ...)`` for :class:`sar_cls.models.CosineLinear`;
            ``dict(type="fixed", ...)`` for :class:`sar_cls.models.FixedLinear`; ``dict(type="disalign", ...)`` for
            :class:`sar_cls.models.CalibratedLinear`.
        feature_layer: a layer D -> D before the classifier, of which the regularizer, too, gets the output: ``"linear"``, as
            published with hyperspherical prototypes; ``"batch_norm"``, as published with the fixed simplex;
            ``"linear_batch_norm"``, a linear layer and a batch norm whose scale stays 1, as published with ArcFace; None for none.
        **kwargs: as for ``LinearClsHead`` (``loss``, ``topk``, ``cal_acc``, ``init_cfg``).

    Raises:
        ValueError: an unknown regularizer, classifier or feature layer, or a bad value for it.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regularizer: dict[str, Any] | nn.Module | None = None,
        classifier: dict[str, Any] | None = None,
        feature_layer: str | None = None,
        **kwargs: Any,
    ) -> None:
        register_losses()
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        if classifier is not None:
            arguments = dict(classifier)
            kind = arguments.pop("type", None)
            if kind not in CLASSIFIERS:
                raise ValueError(f"unknown classifier {kind!r}: choose one of {', '.join(CLASSIFIERS)}")
            check_arguments(CLASSIFIERS[kind], arguments, ("in_features", "out_features"))
            self.fc = CLASSIFIERS[kind](in_channels, num_classes, **arguments)
        self.feature_layer: nn.Module | None = None
        if feature_layer is not None:
            if feature_layer not in FEATURE_LAYERS:
                raise ValueError(f"unknown feature_layer {feature_layer!r}: choose one of {', '.join(FEATURE_LAYERS)}")
            with apart_from_the_model():
                self.feature_layer = FEATURE_LAYERS[feature_layer](in_channels)
        self.regularizer = build_regularizer(regularizer, num_classes, in_channels)

    def init_weights(self) -> None:
        """Initializes the classifier as LinearClsHead does, and leaves regularizer and feature layer as they were constructed.

        The head's rule (normal weights of std 0.01 for every Linear below it) is meant for the classifier alone, and
        drawing more numbers than LinearClsHead would give the rest of the model other weights.
        """
        apart = self.regularizer, self.feature_layer
        self.regularizer, self.feature_layer = None, None
        try:
            super().init_weights()
        finally:
            self.regularizer, self.feature_layer = apart

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Features [N, D] of the backbone's stages, as they enter the classifier.

        Raises:
            InputError: the backbone gives others than the head was told.
        """
        features = super().pre_logits(feats)
        _check_features(features, self.in_channels)
        return features if self.feature_layer is None else self.feature_layer(features)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits [N, C] of the backbone's stages."""
        return self._logits(self.pre_logits(feats))

    def _logits(self, features: Tensor) -> Tensor:
        """Logits [N, C] of features [N, D] in the classifier's own precision, also under autocast.

        bfloat16 has three significant digits: of a hundred classes several would come out equal, and the first of them win.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.fc(features.to(self.fc.weight.dtype))

    def loss(self, feats: tuple[Tensor, ...], data_samples: Tensor | list[DataSample], **kwargs: Any) -> dict:
        """The classification loss and the regularizer's.

        mmengine logs the sum of all under the name ``loss``, so beside a regularizer the classification loss has another.

        Args:
            feats: the backbone's stages; the last one is [N, D].
            data_samples: labels [N] or soft labels [N, C] as one tensor, or a list of N ``DataSample``.

        Returns:
            Scalars: ``loss`` alone without a regularizer, as ``LinearClsHead`` gives it; with one ``loss_ce``, the
            classification loss whatever its kind, and the regularizer's own ``loss_...``.
        """
        features = self.pre_logits(feats)
        logits = self._logits(features)
        targets = stack_targets(data_samples)
        name = "loss" if self.regularizer is None else CLASSIFICATION_LOSS
        loss = self.loss_module(logits, targets, avg_factor=logits.size(0), **kwargs)
        if not isinstance(loss, Tensor):
            raise ValueError(
                f"the loss {type(self.loss_module).__name__} returned a {type(loss).__name__}: return a tensor, the mean over the "
                "batch"
            )
        losses = {name: loss}
        if self.cal_acc:
            if targets.ndim != 1:
                raise ValueError("cal_acc needs hard labels: switch it off under mixup or cutmix")
            accuracies = Accuracy.calculate(logits, targets, topk=self.topk)
            losses.update({f"accuracy_top-{k}": accuracy for k, accuracy in zip(self.topk, accuracies, strict=True)})
        if self.regularizer is not None:
            losses.update(self.regularizer(features, targets, self.fc))
        return losses
