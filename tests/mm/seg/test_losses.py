"""Re-weighted losses of pixels against a loop, and in a head of mmseg."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from sar_cls.mm.seg.losses import PixelReweighting, count_on_the_device, use_whole_batch_of_pixels

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


QUOTIENTS: dict[str, dict[str, Any]] = {
    "labelled pixels": dict(avg_non_ignore=True),
    "class weights": dict(class_weight=[1.0, 0.5, 3.0, 0.3]),
    "two losses": dict(avg_non_ignore=True, loss_weight=0.4),
}


def cross_entropy(**more: Any) -> nn.Module:
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(dict(type="CrossEntropyLoss", **more))


def value_and_gradient(loss: nn.Module, labels: torch.Tensor, precision: str) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext():
        value = loss(scores.bfloat16() if precision == "bf16" else scores, labels, weight=None, ignore_index=255)
    value.backward()
    assert scores.grad is not None
    return value.detach(), scores.grad


@pytest.mark.parametrize("void", [0, 30, 162])
@pytest.mark.parametrize(("name", "precision"), [(name, "fp32") for name in QUOTIENTS] + [("labelled pixels", "bf16")])
def test_counted_on_the_device_the_loss_is_mmseg_s(name: str, precision: str, void: int) -> None:
    labels = torch.randint(4, (2, 9, 9), generator=torch.Generator().manual_seed(1))
    labels.view(-1)[:void] = 255
    plain, counted = (nn.ModuleList([cross_entropy(**QUOTIENTS[name])]) for _ in range(2))
    assert count_on_the_device(counted) == count_on_the_device(counted) == ["0"]
    expected, found = (value_and_gradient(losses[0], labels, precision) for losses in (plain, counted))
    for got, wanted in zip(found, expected, strict=True):
        if name == "class weights":  # summed up in another order
            torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)
        else:
            assert torch.equal(got, wanted)
    together = value_and_gradient(counted[0], labels, precision)
    use_whole_batch_of_pixels(counted)
    assert all(map(torch.equal, together, value_and_gradient(counted[0], labels, precision)))


def test_losses_that_divide_by_nothing_of_the_labels_are_left_alone() -> None:
    losses = nn.ModuleList(
        cross_entropy(**more)
        for more in (dict(), dict(reduction="sum", avg_non_ignore=True), dict(use_sigmoid=True, avg_non_ignore=True))
    )
    assert count_on_the_device(losses) == []
    loss = nn.ModuleList([cross_entropy(avg_non_ignore=True)])
    assert count_on_the_device(loss) == ["0"]
    scores, labels = drawn()
    for reduction, expected in (("none", labels.shape), ("sum", ())):  # "none" is what a sampler of pixels asks for
        assert loss[0](scores, labels, ignore_index=255, reduction_override=reduction).shape == expected


@pytest.mark.parametrize("whole_batch", [False, True])
@pytest.mark.parametrize("name", QUOTIENTS)
def test_the_divisor_is_no_bfloat16(name: str, whole_batch: bool) -> None:
    """4,150 pixels with a class would be 4,160: the loss and all gradients a quarter of a per cent too small."""
    loss = nn.ModuleList([cross_entropy(**QUOTIENTS[name])])
    (use_whole_batch_of_pixels if whole_batch else count_on_the_device)(loss)
    seen: list[torch.Tensor] = []
    loss[0].register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["avg_factor"]), with_kwargs=True)
    labels = torch.arange(65 * 65).view(1, 65, 65) % 4
    labels.view(-1)[4150:] = 255
    loss[0](torch.zeros(1, 4, 65, 65, dtype=torch.bfloat16), labels, weight=None, ignore_index=255)
    weights = torch.tensor(QUOTIENTS[name].get("class_weight", [1.0] * 4)).bfloat16().double().tolist()
    assert seen[0].item() == pytest.approx(sum(weights[label % 4] for label in range(4150)), rel=1e-7)
