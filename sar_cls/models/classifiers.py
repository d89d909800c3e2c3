"""Finding a model's classifier, and what enters it: the features that the regularizers act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.regularizers.classifier_call import HALF, in_precision

# Where torchvision's, mmpretrain's and most other models keep it, tried in this order.
_USUAL_NAMES = ("head.fc", "fc", "classifier", "heads.head", "heads", "head", "last_linear")


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
        call = self.module if features.dtype in HALF else in_precision(self.module, features.dtype)
        if isinstance(self.module, nn.Conv2d):
            logits = call(features.reshape(-1, self.feat_dim, 1, 1))
            return logits.reshape(*features.shape[:-1], self.num_classes)
        return call(features)


class ClassifierInput:
    """Remembers what enters a classifier during one forward pass of its model.

    It registers a forward pre-hook that does nothing unless :attr:`active` is set, so that the model stays its own in
    every other pass; ``torch.compile`` traces through it.
    """

    def __init__(self, classifier: FoundClassifier) -> None:
        self.classifier = classifier
        self.active = False
        self.inputs: list[Tensor] = []
        self._handle = classifier.module.register_forward_pre_hook(self._remember)

    def _remember(self, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.active:
            self.inputs.append(arguments[0])

    def of(self, model: nn.Module, *inputs: Any, **arguments: Any) -> tuple[Any, Tensor]:
        """Runs ``model(*inputs, **arguments)``.

        Returns:
            The model's output, and the features [N, D] that entered the classifier (what entered as [N, D, 1, 1] is
            flattened).

        Raises:
            InputError: the classifier was called not exactly once, or what entered it is not one vector a sample.
        """
        self.inputs.clear()
        self.active = True
        try:
            output = model(*inputs, **arguments)
        finally:
            self.active = False
        calls = len(self.inputs)
        if calls != 1:
            self.inputs.clear()
            raise InputError(
                f"the classifier '{self.classifier.name}' was called {calls} times in one forward pass, not once: "
                "name the layer that gives the logits with classifier='...'"
            )
        return output, flat_features(self.inputs.pop(), self.classifier.feat_dim, self.classifier.name)

    def remove(self) -> None:
        """Takes the hook off the model."""
        self._handle.remove()


def flat_features(features: Tensor, feat_dim: int, classifier_name: str) -> Tensor:
    """[N, D] or [N, D, 1, 1] as [N, D].

    Raises:
        InputError: anything else, for example a map that is pooled only after the classifier.
    """
    sample_shape = tuple(features.shape[1:])
    if not sample_shape or sample_shape[0] != feat_dim or any(length != 1 for length in sample_shape[1:]):
        raise InputError(
            f"a tensor of shape {list(features.shape)} enters the classifier '{classifier_name}' where [N, {feat_dim}] "
            "is needed: use a model that pools its features before its last linear layer, or name that layer with "
            "classifier='...'"
        )
    return features.flatten(1)


def find_classifier(model: nn.Module, name: str | None = None) -> FoundClassifier:
    """The last linear layer of a timm, torchvision, mmpretrain or other classification model.

    Args:
        model: asked for ``get_classifier()`` (timm), then searched under the usual names (``fc``, ``classifier``,
            ``heads.head``, ``head`` ...), then for its last ``nn.Linear``. A classifier of several layers is taken by
            its last linear one.
        name: the dotted path of the layer, where that finds the wrong one or none.

    Raises:
        InputError: there is no such layer, or more than one classifier.
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
        if _is_linear(module) or any(_is_linear(part) for part in module.modules()):
            return _describe(model, candidate, module)
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"{type(model).__name__} has no linear layer: name its classifier with classifier='...'")
    return _describe(model, *linear[-1])


def _describe(model: nn.Module, name: str, module: nn.Module) -> FoundClassifier:
    """Follows a classifier of several layers to its last linear one."""
    if not _is_linear(module):
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
        return module.kernel_size == (1, 1) and module.groups == 1
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
