"""LDAM-DRW: margins, the deferred weights and their schedule, scaled logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.losses import LDAM, ldam_loss, ldam_margins

from . import loss_references as ref

COUNTS = [500, 60, 7, 1]


def test_margins_against_the_formula() -> None:
    margins = ldam_margins(COUNTS, 0.5).tolist()
    assert margins == pytest.approx([0.5 * (1 / n) ** 0.25 for n in COUNTS], rel=1e-12)
    scarce = ldam_margins([160, 10], 0.5).tolist()
    assert scarce == pytest.approx([0.25, 0.5], rel=1e-12)  # 16 times the images, half the margin


def test_deferred_weights_average_by_weight() -> None:
    rng = np.random.default_rng(0)
    logits = rng.uniform(-1, 1, (9, 4))
    labels = np.arange(9) % 4
    loss = LDAM(COUNTS)
    loss.set_epoch(160, 200)
    weights = ref.effective_number_weights(COUNTS, 0.9999)
    total = sum(weights[y] * ref.ldam(z, y, COUNTS, 0.5, 30.0) for z, y in zip(logits, labels, strict=True))
    expected = total / sum(weights[y] for y in labels)
    assert loss(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("epoch", "total", "start", "weighted"),
    [
        (0, 200, 0.8, False),
        (159, 200, 0.8, False),
        (160, 200, 0.8, True),
        (199, 200, 0.8, True),
        (15, 20, 0.8, False),
        (16, 20, 0.8, True),
        (0, 200, 0.0, True),
        (199, 200, 1.0, False),
    ],
)
def test_schedule(epoch: int, total: int, start: float, weighted: bool) -> None:
    loss = LDAM(COUNTS, drw_start=start)
    address = loss.class_weights.data_ptr()
    loss.set_epoch(epoch, total)
    assert bool((loss.class_weights != 1).any()) == weighted
    assert loss.class_weights.data_ptr() == address  # a captured step reads this memory


def test_going_back_to_an_early_epoch_removes_the_weights() -> None:
    loss = LDAM(COUNTS)
    loss.set_epoch(199, 200)
    loss.set_epoch(0, 200)
    assert bool((loss.class_weights == 1).all())


def test_scaled_logits_are_the_same_loss() -> None:
    cosines, labels = torch.rand(8, 4, dtype=torch.float64) * 2 - 1, torch.arange(8) % 4
    expected = LDAM(COUNTS, scale=12.0)(cosines, labels)
    torch.testing.assert_close(
        LDAM(COUNTS, scale=12.0, scaled_logits=True)(12 * cosines, labels), expected, rtol=1e-6, atol=0
    )


def test_the_margin_pushes_the_rare_class_most() -> None:
    cosines = torch.zeros(1, 4)
    losses = [LDAM(COUNTS)(cosines, torch.tensor([c])).item() for c in range(4)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 4


@pytest.mark.parametrize("targets", [torch.full((3, 4), 0.25), torch.zeros(3)])
def test_refuses_soft_targets(targets: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="one right class"):
        ldam_loss(torch.zeros(3, 4), targets, torch.ones(4), torch.ones(4))


@pytest.mark.parametrize("arguments", [{"max_margin": 0.0}, {"scale": 0.0}, {"drw_start": 1.5}, {"beta": 1.0}])
def test_refuses_values_out_of_range(arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        LDAM(COUNTS, **arguments)
