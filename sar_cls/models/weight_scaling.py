"""Learnable weight scaling: one factor per class on the logits of a classifier that is itself kept or tuned slowly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WeightScaling(nn.Module):
    """Multiplies each class's logit by a learned factor that starts at one.

    Zhong et al., "Improving Calibration for Long-Tailed Recognition" (MiSLAS), CVPR 2021, stage 2
    (https://arxiv.org/abs/2104.00466), after the learnable weight scaling (``f_c w_c``) of Kang et al., "Decoupling
    Representation and Classifier for Long-Tailed Recognition", ICLR 2020 (https://arxiv.org/abs/1910.09217). As in
    MiSLAS's code, the factor scales the whole logit, bias included.

    Args:
        num_classes: C.

    Raises:
        ValueError: ``num_classes`` is below 1.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {num_classes}.")
        self.scale = nn.Parameter(torch.ones(num_classes))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [*, C] -> scaled logits [*, C]."""
        return self.scale * logits


class ScaledLinear(nn.Linear):
    """A linear classifier followed by learnable weight scaling: ``scale_c (w_c x + b_c)``.

    ``weight`` and ``bias`` carry the names they have in ``nn.Linear``, so that the state of a stage-1 classifier loads
    and stage 2 continues from it; ``scaling.scale`` is the one key that such a state lacks.

    Args:
        in_features: D.
        out_features: C.
        bias: Whether there is a bias.
        train_linear: ``False`` leaves weight and bias without gradient: the LWS classifier of Kang et al. 2020.

    Example:
        >>> classifier = ScaledLinear.from_linear(stage1_classifier)
        >>> optimizer = torch.optim.SGD([
        ...     {"params": classifier.scaling.parameters(), "lr": 0.1},
        ...     {"params": classifier.linear_parameters(), "lr": 0.02},
        ... ])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, train_linear: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.scaling = WeightScaling(out_features)
        for parameter in self.linear_parameters():
            parameter.requires_grad_(train_linear)

    @classmethod
    def from_linear(cls, linear: nn.Linear, train_linear: bool = True) -> ScaledLinear:
        """A scaled classifier with a copy of ``linear``'s weight and bias, on its device and in its dtype."""
        scaled = cls(linear.in_features, linear.out_features, linear.bias is not None, train_linear)
        scaled.to(linear.weight)
        with torch.no_grad():
            scaled.weight.copy_(linear.weight)
            if linear.bias is not None:
                scaled.bias.copy_(linear.bias)
        return scaled

    def linear_parameters(self) -> list[nn.Parameter]:
        """Weight and, where there is one, bias: what MiSLAS trains at 0.2 times the learning rate of the scale."""
        return [parameter for parameter in (self.weight, self.bias) if isinstance(parameter, nn.Parameter)]

    def forward(self, x: Tensor) -> Tensor:
        """Features [*, D] -> logits [*, C]."""
        return self.scaling(F.linear(x, self.weight, self.bias))
