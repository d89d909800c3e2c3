"""Severity of mistakes against a loop."""

from __future__ import annotations

import pytest
import torch

from sar_cls.metrics.severity import errors_within_superclass


def test_against_a_loop(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    predictions, labels = (torch.randint(6, (200,), generator=generator) for _ in range(2))
    homes = [0, 0, 0, 1, 1, 2]
    wrong = near = 0
    for p, y in zip(predictions.tolist(), labels.tolist(), strict=True):
        wrong += p != y
        near += p != y and homes[p] == homes[y]
    found = errors_within_superclass(predictions.to(device), labels.to(device), homes)
    assert found == pytest.approx(100 * near / wrong)


def test_no_mistakes_have_no_severity() -> None:
    labels = torch.tensor([0, 1])
    assert errors_within_superclass(labels, labels, [0, 0]) is None


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"labels \[n\]"):
        errors_within_superclass(torch.zeros(3, dtype=torch.long), torch.zeros(2, dtype=torch.long), [0])
    with pytest.raises(ValueError, match="Class 2 has no superclass"):
        errors_within_superclass(torch.tensor([0, 2]), torch.tensor([1, 1]), [0, 0])
