"""Re-weighted losses of pixels against a loop, and in a head of mmseg."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from sar_cls.mm.seg.losses import PixelReweighting

COUNTS = [1000, 30, 0, 4]


def by_loop(scores: np.ndarray, labels: np.ndarray, rho: float, pixel_weights: np.ndarray | None = None) -> float:
    frequencies = [count / sum(COUNTS) for count in COUNTS]
    powers = [(1 / frequency) ** rho if frequency else 0.0 for frequency in frequencies]
    weights = [3 * power / sum(powers) for power in powers]  # three classes occur
    total, valid = 0.0, 0
    for n, row, column in np.ndindex(*labels.shape):
        label = labels[n, row, column]
        if label == 255:
            continue
        values = scores[n, :, row, column]
        nll = math.log(sum(math.exp(value) for value in values)) - values[label]
        total += weights[label] * nll * (1.0 if pixel_weights is None else pixel_weights[n, row, column])
        valid += 1
    return total / max(valid, 1)


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 3, 255])[torch.randint(4, (2, 3, 5), generator=generator)]
    return scores, labels


@pytest.mark.parametrize("rho", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_follows_the_formula(rho: float, weighted: bool) -> None:
    scores, labels = drawn()
    weight = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)).double() if weighted else None
    loss = PixelReweighting(COUNTS, rho=rho, loss_weight=0.4).double()
    loss.class_weights = loss.class_weights.double()
    expected = by_loop(scores.numpy(), labels.numpy(), rho, None if weight is None else weight.numpy())
    assert loss(scores, labels, weight=weight).item() == pytest.approx(0.4 * expected, rel=1e-6)


def test_pixels_without_a_class_count_nothing() -> None:
    scores, labels = drawn()
    loss = PixelReweighting(COUNTS)
    other = scores + 9 * (labels == 255)[:, None]
    assert loss(scores, labels).item() == pytest.approx(loss(other * 1.0, labels).item())
    scores.requires_grad_()
    nothing = loss(scores, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing.item() == 0
    assert not scores.grad.any()


def test_another_void_label() -> None:
    scores, labels = drawn()
    moved = torch.where(labels == 255, 7, labels)
    loss = PixelReweighting(COUNTS)
    assert loss(scores, moved, ignore_index=7).item() == loss(scores, labels).item()


def test_half_precision_is_computed_in_full() -> None:
    scores, labels = drawn()
    loss = PixelReweighting(COUNTS)
    assert loss(scores.bfloat16(), labels).dtype == torch.float32


def test_mmseg_s_heads_find_it_by_name_and_not_the_one_of_classifiers() -> None:
    with DefaultScope.overwrite_default_scope("mmseg"):
        made = MODELS.build(dict(type="GeneralizedReweighting", class_counts=COUNTS))
    assert isinstance(made, PixelReweighting)
    assert made.loss_name == "loss_ce"
