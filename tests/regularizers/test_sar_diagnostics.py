"""What SAR says of an epoch for the log: means over its steps, and nothing of it in a checkpoint."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from sar_cls import SAR

from .sar_cases import table_of_probs


@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_diagnostics_are_means_over_the_steps(gate: str, device: torch.device) -> None:
    sar = SAR(4, 3, gate=gate, tau=0.9, delta=0.8).to(device)
    assert all(math.isnan(value) for value in sar.diagnostics().values())
    steps = [[0.95, 0.95, 0.85, 0.85], [0.95, 0.5, 0.5, 0.5], [0.5] * 4, [0.99] * 4]
    losses = []
    for probs in steps:
        table = table_of_probs(probs, device).float()
        out = sar(torch.randn(2, 3, device=device), torch.tensor([0, 1], device=device), table)
        losses.append((out["loss_aux"].item(), out["loss_anchor"].item()))
    figures = sar.diagnostics(reset=False)
    assert figures == sar.diagnostics()
    assert figures == {
        "share_above_tau": pytest.approx((0.5 + 0.25 + 0 + 1) / 4),
        "share_above_delta": pytest.approx((1 + 0.25 + 0 + 1) / 4),
        "share_gate_open": pytest.approx((2 if gate == "all" else 3) / 4),
        "mean_loss_aux": pytest.approx(np.mean(losses, axis=0)[0]),
        "mean_loss_anchor": pytest.approx(np.mean(losses, axis=0)[1]),
    }
    assert all(math.isnan(value) for value in sar.diagnostics().values())


def test_diagnostics_survive_a_long_epoch() -> None:
    """A million steps summed in float32: shares keep four digits."""
    sar = SAR(3, 4)
    step = torch.tensor([1.0, 1 / 3, 2 / 3, 1.0, 0.123, 1e-3])
    for _ in itertools.repeat(None, 10**5):
        sar._sums.add_(step)
    sar._sums.mul_(10)
    figures = sar.diagnostics()
    assert list(figures.values()) == pytest.approx([1 / 3, 2 / 3, 1.0, 0.123, 1e-3], rel=1e-3)


def test_diagnostics_are_not_saved() -> None:
    names = set(SAR(3, 4).state_dict())
    state = {"class_anchors", "semantic_anchors", "initialized", "aux_warmup.count"}
    assert state <= names
    assert all(name.startswith("embedding.") for name in names - state)
