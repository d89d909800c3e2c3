"""Finding a model's classifier, and what enters it: the features that the regularizers act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


class ClassifierInput:
    """Remembers what enters a classifier during one forward pass of its model.

    A classifier of feature maps usually has dropout right in front; published SAR regularizes what enters that dropout.
    Which one it is shows in the pass itself: the one whose output is the very tensor that enters the classifier.

    It registers hooks that do nothing unless :attr:`active` is set, so that the model stays its own in every other pass;
    ``torch.compile`` traces through them.

    Args:
        classifier: whose input is wanted.
        model: its model, where :attr:`skips_dropout` may be set.

    Attributes:
        active: whether a pass is being watched.
        skips_dropout: take what enters the dropout in front of the classifier, if there is any and ``model`` was given.
    """

    def __init__(self, classifier: FoundClassifier, model: nn.Module | None = None) -> None:
        self.classifier = classifier
        self.active = False
        self.skips_dropout = False
        self.inputs: list[Tensor] = []
        self._before_dropout: list[Tensor] = []
        self._dropped: list[tuple[Tensor, Tensor]] = []
        self._handles = [classifier.module.register_forward_pre_hook(self._remember)]
        if model is not None and isinstance(classifier.module, nn.Conv2d):
            for module in model.modules():
                if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
                    self._handles.append(module.register_forward_pre_hook(self._enters_dropout))
                    self._handles.append(module.register_forward_hook(self._leaves_dropout))

    def _remember(self, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.active:
            features = arguments[0]
            if self._dropped and features is self._dropped[0][1]:
                features = self._dropped[0][0]
            self.inputs.append(features)

    def _enters_dropout(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.active and self.skips_dropout:
            # Dropout in place overwrites what enters it.
            self._before_dropout[:] = [arguments[0].clone() if getattr(module, "inplace", False) else arguments[0]]

    def _leaves_dropout(self, _module: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> None:
        if self.active and self.skips_dropout:
            self._dropped[:] = [(self._before_dropout[0], output)]

    def of(self, model: nn.Module, *inputs: Any, **arguments: Any) -> tuple[Any, Tensor]:
        """Runs ``model(*inputs, **arguments)``.

        Returns:
            The model's output, and what entered the classifier: [N, D], [N, D, H, W] or whatever it was.

        Raises:
            InputError: the classifier was called not exactly once.
        """
        self._forget()
        self.active = True
        try:
            output = model(*inputs, **arguments)
            found = list(self.inputs)
        finally:
            self.active = False
            self._forget()
        if len(found) != 1:
            raise InputError(
                f"the classifier '{self.classifier.name}' was called {len(found)} times in one forward pass, not once: "
                "name the layer that gives the logits with classifier='...'"
            )
        return output, found[0]

    def remove(self) -> None:
        """Takes the hooks off the model."""
        for handle in self._handles:
            handle.remove()

    def _forget(self) -> None:
        for kept in (self.inputs, self._before_dropout, self._dropped):
            kept.clear()


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
                    "regularized"
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
