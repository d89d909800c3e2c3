"""Dot regression's own properties; its formula is checked in test_all_losses.py."""

from __future__ import annotations

import pytest
import torch

from sar_cls.losses import DotRegression
from sar_cls.models import FixedLinear

COUNTS = [9, 5, 1]


def test_attracts_to_the_own_class_and_repels_from_none(device: torch.device) -> None:
    cosines = (2 * torch.rand(6, 3, device=device) - 1).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0, 1, 2], device=device)
    DotRegression(COUNTS).to(device)(cosines, labels).backward()
    assert cosines.grad is not None
    right = torch.nn.functional.one_hot(labels, 3).bool()
    assert bool((cosines.grad[right] < 0).all())
    assert torch.equal(cosines.grad[~right], torch.zeros(12, device=device))


def test_is_zero_on_the_class_vectors_alone() -> None:
    classifier = FixedLinear(4, 3, seed=0, scale=5.0)
    loss = DotRegression(COUNTS, scale=5.0)
    labels = torch.arange(3)
    assert loss(classifier(7 * classifier.weight), labels).item() == pytest.approx(0, abs=1e-12)
    assert loss(classifier(classifier.weight.roll(1, 0)), labels).item() == pytest.approx(0.5 * 1.5**2, rel=1e-5)


def test_the_loss_of_hyperspherical_prototypes_is_twice_as_large() -> None:
    cosines, labels = 2 * torch.rand(6, 3) - 1, torch.arange(6) % 3
    mettes = torch.stack([(1 - cosines[i, labels[i]]) ** 2 for i in range(6)]).mean()
    torch.testing.assert_close(DotRegression(COUNTS, weight=2.0)(cosines, labels), mettes)


@pytest.mark.parametrize("arguments", [{"weight": 0.0}, {"scale": -1.0}, {"weight": float("nan")}])
def test_refuses_values_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        DotRegression(COUNTS, **arguments)
