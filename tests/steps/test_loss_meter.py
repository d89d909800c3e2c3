"""Means of losses that are read once an interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.steps.loss_meter import LossMeter


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_means_of_each_loss(steps: int) -> None:
    rng = np.random.default_rng(steps)
    values = rng.normal(size=(steps, 3))
    meter = LossMeter()
    for row in values:
        meter.update({name: torch.tensor(value) for name, value in zip("abc", row, strict=True)})
    expected = {name: sum(row[index] for row in values) / steps for index, name in enumerate("abc")}
    assert meter.means() == pytest.approx(expected, rel=1e-6)
    assert list(meter.means()) == ["a", "b", "c"]


def test_an_epoch_starts_anew_in_the_same_memory() -> None:
    """A captured step goes on adding to the tensor that it was recorded with."""
    meter = LossMeter()
    meter.update({"loss": torch.tensor(5.0)})
    memory = meter.total
    meter.reset()
    assert meter.means() == {}
    meter.update({"loss": torch.tensor(2.0)})
    assert meter.total is memory
    assert meter.means() == {"loss": 2.0}


def test_nothing_yet() -> None:
    meter = LossMeter()
    meter.reset()
    assert meter.means() == {}


def test_half_precision_is_summed_in_float32_and_no_graph_is_kept() -> None:
    meter = LossMeter()
    for _ in range(4096):
        meter.update({"loss": torch.tensor(0.1, dtype=torch.bfloat16, requires_grad=True)})
    assert meter.total is not None
    assert not meter.total.requires_grad
    assert meter.means()["loss"] == pytest.approx(float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-4)
