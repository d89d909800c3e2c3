"""A weight that grows from 0 over the first training steps, counted on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sar_cls.regularizers.base import snapshot


class LinearWarmUp(nn.Module):
    """The factor ``min(t / steps, 1)`` at training step t = 0, 1, 2 ...: 0 at the first step, 1 from step ``steps`` on.

    Each call in training counts one step; in ``eval()`` the factor is that of the next step and nothing is counted. With ``steps``
    0 there is no warm-up: the factor is the number 1 and nothing is counted.

    Buffer: ``count``, int64, steps so far; saved in checkpoints. One from before there was a count leaves it as it is.

    Args:
        steps: length of the warm-up in training steps, at least 0.
    """

    count: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, dtype: torch.dtype) -> Tensor | float:
        """The factor of this step: a scalar tensor of ``dtype``, or 1.0 without a warm-up."""
        if not self.steps:
            return 1.0
        factor = (snapshot(self.count).to(dtype) / self.steps).clamp(max=1)
        if self.training:
            self.count.add_(1)
        return factor

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        state_dict.setdefault(f"{prefix}count", self.count.clone())
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
