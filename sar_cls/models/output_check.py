"""Whether a layer that was taken for the classifier gives what its model returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.models.classifiers import FoundClassifier


def check_classes(
    output: Any, classifier: FoundClassifier, features: Tensor, logits: Tensor, dims: int, *, is_named: bool
) -> None:
    """Looks for the logits in a model's output.

    They are the output itself, or what it holds as ``logits`` or ``out``, or else its first tensor of so many dimensions that is
    not the features.

    Args:
        output: of the model: a tensor, or a tuple, list, dict or object of them.
        classifier: that was found, or named.
        features: that entered it.
        logits: that it gave.
        dims: of logits.
        is_named: whether somebody named the classifier; then of several outputs any may be its.

    Raises:
        InputError: a hidden layer, or the classifier of another output, was taken.
    """
    holds = output if isinstance(output, Mapping) else {"logits": getattr(output, "logits", None)}
    found = output if isinstance(output, Tensor) else holds.get("logits", holds.get("out"))
    others: list[Tensor] = []
    if not isinstance(found, Tensor):
        if is_named:
            return
        tensors = [one for one in _tensors(output) if one.ndim == dims and one is not features]
        if not tensors:
            return
        found, *others = tensors
    name = classifier.name
    if found.ndim == dims and found is not logits and found.shape[1] != classifier.num_classes:
        raise InputError(
            f"the layer '{name}', which was taken for the classifier, gives {classifier.num_classes} classes, and the "
            f"output of the model is {list(found.shape)}: name the layer that gives the logits with classifier='...'"
        )
    if found is not logits and any(other is logits for other in others):
        raise InputError(
            f"the model has several outputs, and the layer '{name}', which was taken for the classifier, does not give the first: "
            "name the layer that gives the logits with classifier='...'"
        )


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (Mapping, tuple, list)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
    elif hasattr(output, "__dict__"):
        for part in vars(output).values():
            if isinstance(part, Tensor):
                yield part
