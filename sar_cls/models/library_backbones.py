"""timm and torchvision classification models by name, with the features that enter their classifiers."""

from __future__ import annotations

import difflib
from typing import Any

from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.classifier_input import ClassifierInput
from sar_cls.models.classifiers import FoundClassifier, find_classifier, flat_features
from sar_cls.torchvision_shim import import_torchvision

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A classification model whose features can be had on their own.

    ``forward`` is the model's own. ``classifier(features(x))`` equals it.

    Attributes:
        model: the timm or torchvision model.
        spec: the name it was built from, ``timm:NAME`` or ``torchvision:NAME``.
        feat_dim: D.
        num_classes: C; 0 where it was built without a classifier.
        mean: of the three channels, on the scale 0-255, as the model's published weights expect.
        std: likewise.
        input_size: (height, width) that the model's published weights were trained on, or its fixed size.
        fixed_input_size: whether it takes no other size.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: str,
        *,
        classifier: FoundClassifier | None,
        feat_dim: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        input_size: tuple[int, int],
        fixed_input_size: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.feat_dim = feat_dim
        self.num_classes = classifier.num_classes if classifier else 0
        self.mean, self.std = mean, std
        self.input_size, self.fixed_input_size = input_size, fixed_input_size
        self._classifier = classifier
        self._is_timm = callable(getattr(model, "forward_head", None))
        self._classifier_input = ClassifierInput(classifier) if classifier else None

    @property
    def classifier(self) -> FoundClassifier:
        """Features [*, D] -> logits [*, C].

        Raises:
            InputError: the model was built with ``num_classes=0``.
        """
        if self._classifier is None:
            raise InputError(f"{self.spec} was built without a classifier: build it with num_classes >= 1")
        return self._classifier

    def features(self, inputs: Tensor) -> Tensor:
        """Images [N, 3, H, W] -> what enters the classifier, [N, D].

        Raises:
            InputError: the model's features are not one vector of D numbers a sample.
        """
        name = self._classifier.name if self._classifier else "(none)"
        if self._is_timm:
            model: Any = self.model
            features = model.forward_head(model.forward_features(inputs), pre_logits=True)
            # Where the head is an MLP, timm gives what enters the MLP, not what enters its last layer.
            if self._classifier is None or features.shape[1] == self.feat_dim:
                return flat_features(features, self.feat_dim, name)
        if self._classifier_input is not None:
            return flat_features(self._classifier_input.of(self.model, inputs)[1], self.feat_dim, name)
        return flat_features(self.model(inputs), self.feat_dim, name)

    def forward(self, inputs: Tensor) -> Tensor:
        """The model's own forward: logits [N, C], or features [N, D] where it has no classifier."""
        return self.model(inputs)


def build_backbone(spec: str, num_classes: int, **kwargs: Any) -> Backbone:
    """Builds a timm or torchvision classification model with random weights; published ones come by
    :func:`sar_cls.weights.load_weights`.

    Args:
        spec: ``timm:NAME`` (``timm:resnet18``, ``timm:vit_tiny_patch16_224`` ...) or ``torchvision:NAME``.
        num_classes: C; 0 for the features alone.
        **kwargs: for the model's own constructor, for example ``img_size=32`` or ``drop_path_rate=0.1``.

    Raises:
        InputError: an unknown name (with near ones), an argument that the model does not take, a model that has no
            linear classifier.

    Example:
        >>> backbone = build_backbone("timm:resnet18", num_classes=10)
        >>> features = backbone.features(torch.randn(2, 3, 64, 64))  # [2, 512]
    """
    library, name = look_up_backbone(spec)
    if num_classes < 0:
        raise InputError(f"num_classes is {num_classes}: it must be 0 (features alone) or more")
    build = _build_timm if library == "timm" else _build_torchvision
    return build(name, num_classes, kwargs)


def look_up_backbone(spec: str) -> tuple[str, str]:
    """Library and name of a model as :func:`build_backbone` takes it; nothing is built.

    Raises:
        InputError: an unknown name (with near ones).
    """
    library, separator, name = spec.partition(":")
    if not separator or library not in ("timm", "torchvision") or not name:
        raise InputError(f"unknown backbone '{spec}': write timm:NAME or torchvision:NAME, for example timm:resnet18")
    if library == "timm":
        if not import_timm().is_model(name):
            raise unknown_timm_name(name)
        return library, name
    models = import_torchvision().models
    # Without include=, its list also holds detection, segmentation and video models.
    names = models.list_models(module=models)
    if name not in names:
        raise InputError(f"torchvision has no classification model '{name}'{_near(name, names)}")
    return library, name


def import_timm() -> Any:
    """Imports timm, which needs a torchvision that can be imported."""
    import_torchvision()
    import timm

    return timm


def unknown_timm_name(name: str) -> InputError:
    """The error for a name that timm does not know, with near ones."""
    names = import_timm().list_models()
    return InputError(f"timm has no model '{name}'{_near(name, names)}")


def _build_timm(name: str, num_classes: int, kwargs: dict[str, Any]) -> Backbone:
    timm = import_timm()
    try:
        model = timm.create_model(name, pretrained=False, num_classes=num_classes, **kwargs)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise InputError(f"timm could not build '{name}' with {kwargs}: {error}") from error
    if not callable(getattr(model, "forward_head", None)):
        raise InputError(f"timm's '{name}' has no forward_head and gives no features on its own: choose another model")
    classifier = find_classifier(model) if num_classes else None
    data = timm.data.resolve_model_data_config(model)
    given = kwargs.get("img_size")
    size = (
        tuple(data["input_size"][1:]) if given is None else (given, given) if isinstance(given, int) else tuple(given)
    )
    return Backbone(
        model,
        f"timm:{name}",
        classifier=classifier,
        feat_dim=classifier.feat_dim if classifier else getattr(model, "head_hidden_size", None) or model.num_features,
        mean=tuple(255 * value for value in data["mean"]),
        std=tuple(255 * value for value in data["std"]),
        input_size=size,
        fixed_input_size=bool(model.pretrained_cfg.get("fixed_input_size", False)),
    )


def _build_torchvision(name: str, num_classes: int, kwargs: dict[str, Any]) -> Backbone:
    models = import_torchvision().models
    try:
        model = models.get_model(name, weights=None, num_classes=num_classes or 1, **kwargs)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise InputError(f"torchvision could not build '{name}' with {kwargs}: {error}") from error
    classifier = find_classifier(model)
    if not num_classes:
        parent, _, attribute = classifier.name.rpartition(".")
        model.get_submodule(parent).register_module(attribute, nn.Identity())
    mean, std, size = _torchvision_preprocessing(models, name)
    return Backbone(
        model,
        f"torchvision:{name}",
        classifier=classifier if num_classes else None,
        feat_dim=classifier.feat_dim,
        mean=tuple(255 * value for value in mean),
        std=tuple(255 * value for value in std),
        input_size=(kwargs["image_size"],) * 2 if "image_size" in kwargs else (size, size),
        fixed_input_size=name.startswith("vit_"),
    )


def _torchvision_preprocessing(models: Any, name: str) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    try:
        preset = models.get_model_weights(name).DEFAULT.transforms()
        return tuple(preset.mean), tuple(preset.std), int(preset.crop_size[0])
    except (ValueError, AttributeError):  # a model without published weights
        return IMAGENET_MEAN, IMAGENET_STD, 224


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else ": see its list_models() for the names"
