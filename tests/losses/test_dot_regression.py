"""Dot regression's own properties; its formula is checked in test_all_losses.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.losses import DotRegression
from sar_cls.models import FixedLinear

COUNTS = [9, 5, 1]


def balanced(cosines: np.ndarray, targets: np.ndarray) -> float:
    """Class vectors of the length sqrt(N / K / n_c), dot products regressed to that length."""
    sizes = [sum(row[c] for row in targets) for c in range(cosines.shape[1])]
    present = sum(size > 0 for size in sizes)
    total = 0.0
    for cosine, target in zip(cosines, targets, strict=True):
        for c, share in enumerate(target):
            if share > 0:
                length = np.sqrt(len(cosines) / present / sizes[c])
                total += share * (length * cosine[c] - length) ** 2 / 2
    return total / len(cosines)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 1, 1, 2], [0, 0, 2, 0, 2, 2, 2]], ids=["all", "one absent"])
def test_balanced_by_the_batch(labels: list[int], device: torch.device) -> None:
    torch.manual_seed(0)
    cosines = 2 * torch.rand(7, 3, device=device, dtype=torch.float64) - 1
    loss, one_hot = DotRegression(COUNTS, balanced=True).to(device), np.eye(3)[labels]
    expected = balanced(cosines.cpu().numpy(), one_hot)
    assert loss(cosines, torch.tensor(labels, device=device)).item() == pytest.approx(expected, rel=1e-6)
    mixed = 0.3 * one_hot + 0.7 * one_hot[::-1]
    soft = torch.tensor(mixed, device=device)
    assert loss(cosines, soft).item() == pytest.approx(balanced(cosines.cpu().numpy(), mixed), rel=1e-6)
    hard = [loss(cosines, torch.tensor(way, device=device)).item() for way in (labels, labels[::-1])]
    assert loss(cosines, soft).item() == pytest.approx(0.3 * hard[0] + 0.7 * hard[1], rel=1e-6)


def test_balanced_every_class_weighs_the_same() -> None:
    loss = DotRegression(COUNTS, balanced=True)
    cosines = torch.zeros(10, 3, requires_grad=True)
    loss(cosines, torch.tensor([0] * 8 + [1, 2])).backward()
    assert cosines.grad is not None
    torch.testing.assert_close(cosines.grad.sum(dim=0), torch.full((3,), -1 / 3))


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
