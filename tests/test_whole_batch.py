"""Sums over processes; what several processes make of them is tested in tests/mm/test_processes.py."""

from __future__ import annotations

import torch
from torch import nn

from sar_cls import CAR, CenterLoss
from sar_cls.losses import LDAM
from sar_cls.whole_batch import all_rows, num_processes, total, use_whole_batch


def test_in_one_process_a_total_is_the_value_itself() -> None:
    value = torch.ones(2, requires_grad=True)
    assert num_processes() == 1
    assert total(value) is value
    assert all_rows(value) == (value, 0)


def test_all_parts_that_know_the_difference_are_told() -> None:
    model = nn.ModuleDict(
        {"a": CAR(3, 4), "b": nn.Sequential(CenterLoss(3, 4), nn.Linear(4, 3)), "loss": LDAM([3, 2, 1])}
    )
    assert use_whole_batch(model) == ["a", "b.0", "loss"]
    assert all(module.whole_batch for module in (model["a"], model["b"][0], model["loss"]))
    assert not CAR(3, 4).whole_batch


def test_in_one_process_it_changes_nothing() -> None:
    features, targets = torch.randn(8, 4, dtype=torch.float64), torch.randint(3, (8,))
    weights = torch.tensor([0.0, 1, 2, 0, 1, 1, 1, 3], dtype=torch.float64)
    for given in (None, weights):
        car = CAR(3, 4, intra_counts_ignored=True).double()
        plain = car(features, targets, sample_weights=given)
        use_whole_batch(car)
        for name, value in car(features, targets, sample_weights=given).items():
            torch.testing.assert_close(value, plain[name])
