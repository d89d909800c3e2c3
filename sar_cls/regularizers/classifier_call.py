"""A classifier called with its parameters in another precision, or as constants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)
Classifier = Callable[[Tensor], Tensor]


class ModuleCall:
    """Calls a module with its parameters changed, which stay as they are in the module itself.

    Args:
        module: features [*, D] -> logits [*, C].
        dtype: for the parameters and buffers in half precision; None leaves them. The gradient has their own dtype.
        constant: whether the parameters get no gradient.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None, constant: bool = False) -> None:
        self.module, self.dtype, self.constant = module, dtype, constant

    def __call__(self, features: Tensor) -> Tensor:
        tensors = {name: p.detach() if self.constant else p for name, p in self.module.named_parameters()}
        tensors.update(self.module.named_buffers())
        if self.dtype is not None:
            tensors = {name: t.to(self.dtype) if t.dtype in HALF else t for name, t in tensors.items()}
        return torch.func.functional_call(self.module, tensors, (features,))


def in_precision(classifier: Classifier, dtype: torch.dtype) -> Classifier:
    """``classifier`` as it is, or, where it is a module with parameters in half precision, called with them in ``dtype``.

    bfloat16 has three significant digits: computed in it, several of a hundred class probabilities come out equal, and
    the first of them would count as the largest.

    A module whose parameters FSDP2 has cut into parts casts its inputs itself, and a plain function cannot be looked
    into: both are called as they are.
    """
    if not isinstance(classifier, nn.Module):
        return classifier
    tensors = [*classifier.parameters(), *classifier.buffers()]
    if not any(tensor.dtype in HALF for tensor in tensors) or any(hasattr(tensor, "full_tensor") for tensor in tensors):
        return classifier
    return ModuleCall(classifier, dtype)


def without_gradient(classifier: Classifier) -> Classifier | None:
    """``classifier`` with constants for its parameters; None where it is a function, whose parameters nobody knows."""
    if isinstance(classifier, ModuleCall):
        return ModuleCall(classifier.module, classifier.dtype, constant=True)
    return ModuleCall(classifier, constant=True) if isinstance(classifier, nn.Module) else None
