"""Running means of the losses that never make a training step wait for its device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sar_cls.whole_batch import num_processes, total


class LossMeter:
    """Sums of the losses on the device, read once an interval.

    The sums stay in one tensor that is written in place, so that a captured step goes on adding to the same memory.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.total: Tensor | None = None
        self.steps = 0

    def reset(self) -> None:
        """Starts anew, for the next epoch."""
        if self.total is not None:
            self.total.zero_()
        self.steps = 0

    def update(self, losses: Mapping[str, Tensor]) -> None:
        """Adds one step's scalar losses; nothing waits for the device."""
        values = torch.stack([value.detach().float() for value in losses.values()])
        if self.total is None:
            self.names, self.total = list(losses), torch.zeros_like(values)
        self.total.add_(values)
        self.steps += 1

    def means(self) -> dict[str, float]:
        """Mean of each loss over the steps since the start, and over all processes of the run. This waits for the device."""
        if self.total is None or not self.steps:
            return {}
        means = total(self.total) / (self.steps * num_processes())
        return dict(zip(self.names, means.tolist(), strict=True))
