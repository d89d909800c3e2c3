"""What enters a model's classifier: the features that the regularizers act on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.classifiers import FoundClassifier

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class ClassifierInput:
    """Remembers what enters a classifier during one forward pass of its model.

    A classifier of feature maps usually has dropout right in front; published SAR regularizes what enters that dropout.
    Which one it is shows in the pass itself: the one whose output is the very tensor that enters the classifier. Dropout that is
    no module (``F.dropout``), or has another layer behind it, is not skipped.

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
        self.outputs: list[Tensor] = []
        self._graphless = False
        self._removed = False
        self._before_dropout: list[Tensor] = []
        self._dropped: list[tuple[Tensor, Tensor]] = []
        self._handles = [
            classifier.module.register_forward_pre_hook(self._enters, with_kwargs=True),
            classifier.module.register_forward_hook(self._leaves),
        ]
        if model is not None and isinstance(classifier.module, nn.Conv2d):
            for module in model.modules():
                if isinstance(module, _DROPOUTS):
                    self._handles.append(module.register_forward_pre_hook(self._enters_dropout))
                    self._handles.append(module.register_forward_hook(self._leaves_dropout))

    def _enters(self, _module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self.active:
            features = arguments[0] if arguments else next(iter(named.values()))
            if self._dropped and features is self._dropped[0][1]:
                features = self._dropped[0][0]
            self.inputs.append(features)
            self._graphless = not torch.is_grad_enabled()

    def _leaves(self, _module: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> None:
        if self.active:
            self.outputs.append(output)

    def _enters_dropout(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.active and self.skips_dropout:
            # Dropout in place overwrites what enters it.
            self._before_dropout[:] = [arguments[0].clone() if getattr(module, "inplace", False) else arguments[0]]

    def _leaves_dropout(self, _module: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> None:
        if self.active and self.skips_dropout:
            self._dropped[:] = [(self._before_dropout[0], output)]

    def of(self, model: nn.Module, *inputs: Any, **arguments: Any) -> tuple[Any, Tensor, Tensor]:
        """Runs ``model(*inputs, **arguments)``.

        Returns:
            The model's output, what entered the classifier, [N, D], [N, D, H, W] or whatever it was, and what came out of it.

        Raises:
            InputError: the classifier was called not exactly once, or where no gradient reaches what enters it.
        """
        self._forget()
        self.active = True
        try:
            output = model(*inputs, **arguments)
            found, logits = list(self.inputs), list(self.outputs)
        finally:
            self.active = False
            self._forget()
        if len(found) != 1 or len(logits) != 1:
            raise InputError(self._said_of(len(found), model))
        if self._graphless and torch.is_grad_enabled():
            raise InputError(
                f"the classifier '{self.classifier.name}' is called where no gradient is recorded, in a checkpoint with "
                "use_reentrant=True or under no_grad(), and the regularizer would not reach the model: use use_reentrant=False, or "
                "leave the classifier out of it"
            )
        return output, found[0], logits[0]

    def _said_of(self, calls: int, model: nn.Module) -> str:
        """A sentence on a classifier that was called another number of times than once."""
        name = self.classifier.name
        if self._removed:
            return "detach() took the regularizer off this model: attach one anew to train with it"
        try:
            there = model.get_submodule(name)
        except AttributeError:
            there = None
        if there is not self.classifier.module:
            return f"'{name}' is another layer now than the one that the regularizer was put on: attach it anew"
        called = f"the classifier '{name}' was called {calls} times in one forward pass, not once: "
        if calls > 1:
            return (
                f"{called}name the layer that gives the logits with classifier='...', or give a net that runs on several inputs "
                "all of them in one batch"
            )
        return (
            f"{called}name the layer that gives the logits with classifier='...'; and of a net that torch.compile has compiled, "
            "attach before its first call"
        )

    def remove(self) -> None:
        """Takes the hooks off the model."""
        self._removed = True
        for handle in self._handles:
            handle.remove()

    def _forget(self) -> None:
        for kept in (self.inputs, self.outputs, self._before_dropout, self._dropped):
            kept.clear()
