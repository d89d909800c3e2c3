"""An optimizer wrapper with bfloat16 autocast that runs on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from sar_cls.steps.precision import autocast


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """``OptimWrapper`` whose forward pass runs in ``precision``.

    mmengine's ``AmpOptimWrapper`` asserts a GPU. bfloat16 has float32's range, so no gradient scaler is needed and the CPU can
    have it too.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, precision: str = "fp32", **kwargs: Any) -> None:
        super().__init__(optimizer, **kwargs)
        self.precision = precision
        autocast("cpu", precision)  # a wrong name is an error now, not at the first step

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = self.optimizer.param_groups[0]["params"][0].device
        with super().optim_context(model), autocast(device, self.precision):
            yield
