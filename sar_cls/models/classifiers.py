"""Finding the classifier of a model, the last linear map."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.regularizers.classifier_call import HALF, in_precision, is_pointwise, on_vectors

# Where torchvision's, mmpretrain's and most other models keep it, tried in this order. Nets for segmentation: torchvision has
# the last of the layers of "classifier" (not of "aux_classifier"), transformers and mmseg a decode head,
# segmentation-models-pytorch a head of convolution, upsampling and activation.
_USUAL_NAMES = (
    "head.fc",
    "fc",
    "decode_head.conv_seg",
    "decode_head.classifier",
    "segmentation_head.0",
    "classifier",
    "heads.head",
    "heads",
    "head",
    "last_linear",
)


@dataclass(frozen=True)
class FoundClassifier:
    """The last linear map of a model: features [*, D] -> logits [*, C].

    Attributes:
        name: its dotted path inside the model.
        module: an ``nn.Linear``, a 1x1 ``nn.Conv2d``, or, where it was named explicitly, any module with a ``weight``
            [C, D].
        feat_dim: D.
        num_classes: C.
    """

    name: str
    module: nn.Module
    feat_dim: int
    num_classes: int

    def __call__(self, features: Tensor) -> Tensor:
        # The regularizers compute in float32, whatever the model does.
        call = on_vectors(self.module)
        return (call if features.dtype in HALF else in_precision(call, features.dtype))(features)


def flat_features(features: Tensor, feat_dim: int, classifier_name: str) -> Tensor:
    """[N, D] or [N, D, 1, 1] as [N, D].

    Raises:
        InputError: anything else, for example a map whose targets are not those of its pixels.
    """
    sample_shape = tuple(features.shape[1:])
    if not sample_shape or sample_shape[0] != feat_dim or any(length != 1 for length in sample_shape[1:]):
        raise InputError(
            f"a tensor of shape {list(features.shape)} enters the classifier '{classifier_name}' where [N, {feat_dim}] "
            "is needed: use a model that pools its features before its last linear layer, name that layer with "
            "classifier='...', or give a model of feature maps the labels [N, h, w] of its pixels"
        )
    return features.flatten(1)


def find_classifier(model: nn.Module, name: str | None = None) -> FoundClassifier:
    """The last linear layer of a timm, torchvision, mmpretrain or other classification model, or the last 1x1 convolution of a
    net for segmentation of torchvision (``classifier.4``), transformers (``decode_head.classifier``), mmseg
    (``decode_head.conv_seg``) or segmentation-models-pytorch (``segmentation_head.0``).

    Args:
        model: asked for ``get_classifier()`` (timm), then searched under the usual names (``fc``, ``classifier``,
            ``heads.head``, ``head`` ...), then for its last ``nn.Linear``. A classifier of several layers is taken by
            its last linear one.
        name: the dotted path of the layer, where that finds the wrong one or none.

    Raises:
        InputError: there is no such layer, more than one classifier, or a convolution that is not 1x1.
    """
    if name is not None:
        try:
            module = model.get_submodule(name)
        except AttributeError:
            raise InputError(
                f"{type(model).__name__} has no module '{name}': its linear layers are {_listing(model)}"
            ) from None
        return _describe(model, name, module)
    if callable(getattr(model, "get_classifier", None)):
        module = model.get_classifier()  # type: ignore[operator]
        if isinstance(module, tuple | list):
            raise InputError(
                f"{type(model).__name__} has {len(module)} classifiers (a distilled model): use its variant without "
                "distillation, or name one with classifier='...'"
            )
        if not isinstance(module, nn.Module) or isinstance(module, nn.Identity):
            raise InputError(f"{type(model).__name__} was built without a classifier: build it with num_classes >= 1")
        return _describe(model, _name_of(model, module), module)
    for candidate in _USUAL_NAMES:
        try:
            module = model.get_submodule(candidate)
        except AttributeError:
            continue
        if isinstance(module, nn.Conv2d) or any(_is_linear(part) for part in module.modules()):
            return _describe(model, candidate, module)
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"{type(model).__name__} has no linear layer: name its classifier with classifier='...'")
    return _describe(model, *linear[-1])


def _describe(model: nn.Module, name: str, module: nn.Module) -> FoundClassifier:
    """Follows a classifier of several layers to its last linear one."""
    if isinstance(module, nn.Conv2d) and not is_pointwise(module):
        raise InputError(
            f"the classifier '{name}' of {type(model).__name__} is a {'x'.join(map(str, module.kernel_size))} convolution, "
            "and only one of 1x1 (stride 1, no padding, one group) gives the logits of one feature vector: build the model "
            "with such a head, or name another layer with classifier='...'"
        )
    if not _is_linear(module):
        if hasattr(module, "low_classifier") and hasattr(module, "high_classifier"):  # torchvision's LR-ASPP
            raise InputError(
                f"'{name}' in {type(model).__name__} adds up the logits of two classifiers, low_classifier and "
                "high_classifier: only a model whose logits come from one can be regularized"
            )
        parts = [(path, part) for path, part in module.named_modules() if not list(part.children())]
        linear = [index for index, (_, part) in enumerate(parts) if _is_linear(part)]
        weight = getattr(module, "weight", None)
        if linear:
            behind = [
                part
                for _, part in parts[linear[-1] + 1 :]
                if not isinstance(part, nn.Identity | nn.Flatten | nn.Dropout)
            ]
            if isinstance(module, nn.Sequential) and behind:
                raise InputError(
                    f"the last linear layer of '{name}' in {type(model).__name__} is followed by "
                    f"{type(behind[0]).__name__}: only a model whose logits come straight out of a linear layer can be "
                    f"regularized; if it does no more than resize them, give classifier='{f'{name}.' if name else ''}"
                    f"{parts[linear[-1]][0]}'"
                )
            path, module = parts[linear[-1]]
            name = f"{name}.{path}" if name else path
        elif not (isinstance(weight, Tensor) and weight.ndim == 2):
            raise InputError(
                f"'{name}' in {type(model).__name__} is a {type(module).__name__}, not a linear layer: its linear "
                f"layers are {_listing(model)}"
            )
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise InputError(
            f"the classifier '{name}' of {type(model).__name__} has no shape yet: run the model on one batch first, and attach then"
        )
    return FoundClassifier(name=name, module=module, feat_dim=weight.shape[1], num_classes=weight.shape[0])


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return is_pointwise(module)
    return isinstance(module, nn.Linear)


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    for path, module in model.named_modules():
        if module is wanted:
            return path
    raise InputError(
        f"{type(model).__name__}.get_classifier() returns a module that is not its own: name the classifier with "
        "classifier='...'"
    )


def _listing(model: nn.Module, most: int = 6) -> str:
    names = [path for path, module in model.named_modules() if _is_linear(module)]
    shown = ", ".join(f"'{path}'" for path in names[-most:])
    return f"{shown} (the last {most} of {len(names)})" if len(names) > most else shown or "none"
