"""A regularizer on any classification model, for a plain training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.classifiers import ClassifierInput, find_classifier


class AttachedModel(nn.Module):
    """A model with a regularizer on what enters its classifier; see :func:`attach`.

    While training, ``forward(inputs, targets)`` returns the logits and the regularizer's losses. In evaluation it is
    the model's own forward. The model itself stays as it was: ``attached.model`` is the very object that was given.

    Attributes:
        model: the classification model.
        regularizer: called with features [N, D], targets and the classifier.
        feat_dim: D.
        num_classes: C.
    """

    def __init__(self, model: nn.Module, regularizer: nn.Module, classifier_input: ClassifierInput) -> None:
        super().__init__()
        self.model = model
        self.regularizer = regularizer
        self._classifier_input = classifier_input
        self.feat_dim = classifier_input.classifier.feat_dim
        self.num_classes = classifier_input.classifier.num_classes

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Any:
        """The model's forward, and while training the regularizer's losses with it.

        Args:
            inputs: what the model takes, N samples.
            targets: labels [N] int64 or soft labels [N, C]; needed while training, not looked at in evaluation.

        Returns:
            While training (model output, losses): the losses are scalars, already weighted, whose names start with
            ``loss_``; add them to the classification loss. In evaluation the model's output alone.

        Raises:
            ValueError: training without targets.
            InputError: what enters the classifier is not one vector a sample.
        """
        if not self.training:
            return self.model(inputs)
        if targets is None:
            raise ValueError(
                "while training the regularizer needs the targets: call model(inputs, targets), or model.eval() first"
            )
        output, features = self._classifier_input.of(self.model, inputs)
        return output, self.regularizer(features, targets, self._classifier_input.classifier)

    def export_state_dict(self) -> dict[str, Tensor]:
        """The model's own state alone, without the regularizer: it loads into the original architecture."""
        return self.model.state_dict()

    def detach(self) -> nn.Module:
        """Takes the hook off the model and returns the model; this object cannot train afterwards."""
        self._classifier_input.remove()
        return self.model


def attach(
    model: nn.Module,
    regularizer: nn.Module | str | Callable[..., nn.Module],
    *,
    classifier: str | None = None,
    **kwargs: Any,
) -> AttachedModel:
    """Puts a regularizer on a classification model.

    Args:
        model: any timm, torchvision or other model that ends in one linear classifier.
        regularizer: a built one (``SAR(num_classes=10, feat_dim=512)``), a class or factory called with
            ``num_classes`` and ``feat_dim`` (``SAR``), or its name in ``sar_cls.REGULARIZERS`` (``"SAR"``). A class,
            factory or name gets the two numbers from the model.
        classifier: the dotted name of the model's last linear layer, where it is not found by itself.
        **kwargs: further arguments of a class, factory or name, for example ``anchor_weight=0.05``.

    Returns:
        A module whose training forward gives logits and losses, and whose evaluation forward is the model's.

    Raises:
        InputError: no classifier is found, an unknown name, or a regularizer built for other sizes than the model's.

    Example:
        >>> model = sar_cls.attach(timm.create_model("resnet18", num_classes=10), sar_cls.SAR)
        >>> logits, losses = model(images, labels)
        >>> (F.cross_entropy(logits, labels) + sum(losses.values())).backward()
    """
    found = find_classifier(model, classifier)
    if isinstance(regularizer, nn.Module):
        if kwargs:
            raise InputError(
                f"{', '.join(kwargs)}: arguments are for a regularizer given by class or name, not for a built one"
            )
        built = regularizer
    else:
        built = _factory(regularizer)(num_classes=found.num_classes, feat_dim=found.feat_dim, **kwargs)
    for name, needed in (("num_classes", found.num_classes), ("feat_dim", found.feat_dim)):
        given = getattr(built, name, needed)
        if given != needed:
            raise InputError(
                f"{type(built).__name__} was built with {name}={given}, but the classifier '{found.name}' of "
                f"{type(model).__name__} needs {name}={needed}: build it so, or give the class and let attach fill it in"
            )
    weight = found.module.weight
    assert isinstance(weight, Tensor)
    return AttachedModel(model, built.to(device=weight.device), ClassifierInput(found)).train(model.training)


def feature_dim(model: nn.Module, classifier: str | None = None) -> int:
    """D, the number of features that enter the model's classifier: what a regularizer takes as ``feat_dim``."""
    return find_classifier(model, classifier).feat_dim


def _factory(regularizer: str | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    if isinstance(regularizer, str):
        from sar_cls.regularizers import REGULARIZERS

        if regularizer not in REGULARIZERS:
            raise InputError(f"unknown regularizer '{regularizer}': choose one of {', '.join(sorted(REGULARIZERS))}")
        return REGULARIZERS[regularizer]
    if not callable(regularizer):
        raise InputError(f"regularizer is a {type(regularizer).__name__}: give a module, a class or a name")
    return regularizer
