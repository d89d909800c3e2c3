"""A classifier called on vectors, also where it is a 1x1 convolution, with its parameters in another precision or as constants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)
Classifier = Callable[[Tensor], Tensor]


class ModuleCall:
    """Calls a module on vectors, on request with its parameters changed, which stay as they are in the module itself.

    Args:
        module: features [*, D] -> logits [*, C], or a 1x1 convolution.
        dtype: for the parameters and buffers in half precision; None leaves them. The gradient has their own dtype.
        constant: whether the parameters get no gradient.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None, constant: bool = False) -> None:
        self.module, self.dtype, self.constant = module, dtype, constant

    def __call__(self, features: Tensor) -> Tensor:
        if not isinstance(self.module, nn.Conv2d):
            return self._call(features)
        logits = self._call(features.reshape(-1, features.shape[-1], 1, 1))
        return logits.reshape(*features.shape[:-1], logits.shape[1])

    def _call(self, inputs: Tensor) -> Tensor:
        if self.dtype is None and not self.constant:
            return self.module(inputs)
        tensors = {name: p.detach() if self.constant else p for name, p in self.module.named_parameters()}
        tensors.update(self.module.named_buffers())
        if self.dtype is not None:
            tensors = {name: t.to(self.dtype) if t.dtype in HALF else t for name, t in tensors.items()}
        return torch.func.functional_call(self.module, tensors, (inputs,))


def is_pointwise(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is one linear map of each pixel's vector, the same as on the vector alone."""
    ones = (convolution.kernel_size, convolution.stride)
    return ones == ((1, 1), (1, 1)) and convolution.groups == 1 and convolution.padding in ((0, 0), "valid", "same")


def on_vectors(classifier: Classifier) -> Classifier:
    """``classifier`` as it is, or, where it is a 1x1 convolution, as a callable [*, D] -> [*, C].

    Raises:
        ValueError: a convolution that sees more of the map than one pixel.
    """
    if not isinstance(classifier, nn.Conv2d):
        return classifier
    if not is_pointwise(classifier):
        raise ValueError(
            f"the classifier is a {'x'.join(map(str, classifier.kernel_size))} convolution (stride "
            f"{classifier.stride[0]}, padding {classifier.padding}, groups {classifier.groups}), whose logits are no "
            "function of one feature vector: give the head a 1x1 convolution for its last layer"
        )
    return ModuleCall(classifier)


def check_width(classifier: Classifier, feat_dim: int) -> None:
    """Raises ValueError where a layer says that it takes vectors of another length than ``feat_dim``."""
    module = classifier.module if isinstance(classifier, ModuleCall) else classifier
    if not isinstance(module, (nn.Linear, nn.Conv2d)):
        return
    width = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    if width not in (0, feat_dim):  # 0 is a lazy layer that has not been called yet
        raise ValueError(
            f"the classifier takes features of {width} values and feat_dim is {feat_dim}: pass the layer that the "
            f"regularizer's features enter, or build the regularizer with feat_dim={width}"
        )


def in_precision(classifier: Classifier, dtype: torch.dtype) -> Classifier:
    """``classifier`` as it is, or, where it is a module with parameters in half precision, called with them in ``dtype``.

    bfloat16 has three significant digits: computed in it, several of a hundred class probabilities come out equal, and
    the first of them would count as the largest.

    A module whose parameters FSDP2 has cut into parts casts its inputs itself, and a plain function cannot be looked
    into: both are called as they are.
    """
    module = classifier.module if isinstance(classifier, ModuleCall) else classifier
    if not isinstance(module, nn.Module):
        return classifier
    tensors = [*module.parameters(), *module.buffers()]
    if not any(tensor.dtype in HALF for tensor in tensors) or any(hasattr(tensor, "full_tensor") for tensor in tensors):
        return classifier
    return ModuleCall(module, dtype)


def without_gradient(classifier: Classifier) -> Classifier | None:
    """``classifier`` with constants for its parameters; None where it is a function, whose parameters nobody knows."""
    if isinstance(classifier, ModuleCall):
        return ModuleCall(classifier.module, classifier.dtype, constant=True)
    return ModuleCall(classifier, constant=True) if isinstance(classifier, nn.Module) else None
