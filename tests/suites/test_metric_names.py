"""The names of metrics are those that a record has; that each is there is in test_rows.py."""

from __future__ import annotations

import torch

from sar_cls import metrics
from sar_cls.suites.metric_names import METRICS


def test_each_name_once_and_every_single_number_of_an_evaluation() -> None:
    assert len(METRICS) == len(set(METRICS))
    logits, labels = torch.eye(6).repeat(3, 1), torch.arange(6).repeat(3)
    found = metrics.evaluate(logits, labels, train_counts=[200, 100, 50, 30, 10, 5])
    numbers = {name for name, value in found.items() if isinstance(value, (int, float))}
    assert numbers
    assert numbers <= set(METRICS)
