"""Every loss against its formula, hard and soft, and what all of them promise: precision, gradients, symmetry, clear errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sar_cls.losses import LOSSES

from . import loss_references as ref

COUNTS = [500, 60, 7, 7, 1]
_WEIGHTS = ref.effective_number_weights(COUNTS, 0.9999)
_WEIGHTS_99 = ref.effective_number_weights(COUNTS, 0.99)
_POWERS_1_2, _POWERS_0_2 = (ref.generalized_weights(COUNTS, rho) for rho in (1.2, 0.2))

CASES: list[tuple[str, dict[str, Any], Callable[..., Any]]] = [
    ("LabelAwareSmoothing", {}, partial(ref.label_aware_smoothing, eps=ref.smoothing(COUNTS, "concave", 0.4, 0.1))),
    (
        "LabelAwareSmoothing",
        {"smooth_head": 0.3, "smooth_tail": 0.0, "shape": "linear"},
        partial(ref.label_aware_smoothing, eps=ref.smoothing(COUNTS, "linear", 0.3, 0.0)),
    ),
    (
        "LabelAwareSmoothing",
        {"shape": "convex"},
        partial(ref.label_aware_smoothing, eps=ref.smoothing(COUNTS, "convex", 0.4, 0.1)),
    ),
    (
        "LabelAwareSmoothing",
        {"shape": "exponential", "power": 0.5},
        partial(ref.label_aware_smoothing, eps=ref.smoothing(COUNTS, "exponential", 0.4, 0.1, 0.5)),
    ),
    ("ClassBalancedCrossEntropy", {}, lambda z, y: _WEIGHTS[y] * ref.nll(z, y)),
    ("ClassBalancedCrossEntropy", {"beta": 0.99}, lambda z, y: _WEIGHTS_99[y] * ref.nll(z, y)),
    ("GeneralizedReweighting", {}, lambda z, y: _POWERS_1_2[y] * ref.nll(z, y)),
    ("GeneralizedReweighting", {"rho": 0.2}, lambda z, y: _POWERS_0_2[y] * ref.nll(z, y)),
    ("FocalLoss", {}, partial(ref.focal, gamma=2.0)),
    ("FocalLoss", {"gamma": 0.5}, partial(ref.focal, gamma=0.5)),
    ("FocalLoss", {"gamma": 1.0, "beta": 0.99}, lambda z, y: _WEIGHTS_99[y] * ref.focal(z, y, gamma=1.0)),
    ("LDAM", {}, partial(ref.ldam, counts=COUNTS, max_margin=0.5, scale=30.0)),
    ("LDAM", {"max_margin": 0.3, "scale": 4.0}, partial(ref.ldam, counts=COUNTS, max_margin=0.3, scale=4.0)),
    ("BalancedSoftmax", {}, partial(ref.balanced_softmax, counts=COUNTS)),
    ("LogitAdjustment", {}, partial(ref.logit_adjusted, counts=COUNTS, tau=1.0)),
    ("LogitAdjustment", {"tau": 1.7}, partial(ref.logit_adjusted, counts=COUNTS, tau=1.7)),
    ("ARBLoss", {"sizes": "train"}, partial(ref.arb, sizes=COUNTS)),
    ("CosFace", {}, partial(ref.cosface, margin=0.2, scale=30.0)),
    ("CosFace", {"margin": 0.35, "scale": 4.0}, partial(ref.cosface, margin=0.35, scale=4.0)),
    ("ArcFace", {}, partial(ref.arcface, margin=0.2, scale=30.0)),
    ("ArcFace", {"margin": 0.5, "scale": 4.0}, partial(ref.arcface, margin=0.5, scale=4.0)),
    ("DotRegression", {}, partial(ref.dot_regression, weight=1.0)),
    ("DotRegression", {"weight": 2.0, "scale": 4.0}, lambda z, y: ref.dot_regression(z / 4.0, y, weight=2.0)),
]
IDS = ["-".join([name, *(f"{k}={v}" for k, v in arguments.items())]) for name, arguments, _ in CASES]
# These read cosines, which have an absolute meaning; to the others a common shift of all logits is nothing.
READ_COSINES = {"ArcFace", "DotRegression"}
SOFT = [(case, name) for case, name in zip(CASES, IDS, strict=True) if case[0] != "LDAM"]
every_loss = pytest.mark.parametrize(("name", "arguments", "cost"), CASES, ids=IDS)
every_soft_loss = pytest.mark.parametrize(
    ("name", "arguments", "cost"), [case for case, _ in SOFT], ids=[name for _, name in SOFT]
)


def batch(n: int, device: torch.device | str = "cpu", seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits about as large as cosines and logits are, labels with every class where n allows, soft targets."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, len(COUNTS), generator=generator, dtype=torch.float64)
    labels = torch.arange(n) % len(COUNTS)
    soft = torch.rand(n, len(COUNTS), generator=generator, dtype=torch.float64)
    soft = soft / soft.sum(1, keepdim=True)
    return logits.to(device), labels.to(device), soft.to(device)


def test_every_registered_loss_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(LOSSES)


@every_loss
@pytest.mark.parametrize("n", [1, 7])
def test_hard_labels_against_the_formula(
    name: str, arguments: dict, cost: ref.Cost, n: int, device: torch.device
) -> None:
    logits, labels, _ = batch(n, device)
    loss = LOSSES[name](COUNTS, **arguments).to(device)(logits, labels)
    assert loss.ndim == 0
    expected = ref.hard_loss(logits.cpu().numpy(), labels.cpu().numpy(), cost)
    assert loss.item() == pytest.approx(expected, rel=2e-6)  # the modules hold their constants in float32


@every_soft_loss
@pytest.mark.parametrize("n", [1, 7])
def test_soft_targets_against_the_formula(
    name: str, arguments: dict, cost: ref.Cost, n: int, device: torch.device
) -> None:
    logits, _, soft = batch(n, device)
    loss = LOSSES[name](COUNTS, **arguments).to(device)(logits, soft)
    expected = ref.soft_loss(logits.cpu().numpy(), soft.cpu().numpy(), cost)
    assert loss.item() == pytest.approx(expected, rel=2e-6)


@every_soft_loss
def test_mixup_is_the_weighted_sum_of_two_hard_losses(name: str, arguments: dict, cost: ref.Cost) -> None:
    logits, labels, _ = batch(10)
    other = labels.flip(0)
    one_hot = torch.eye(len(COUNTS), dtype=torch.float64)
    loss = LOSSES[name](COUNTS, **arguments)
    mixed = loss(logits, 0.3 * one_hot[labels] + 0.7 * one_hot[other])
    torch.testing.assert_close(mixed, 0.3 * loss(logits, labels) + 0.7 * loss(logits, other))


@every_loss
def test_gradient_by_finite_differences(name: str, arguments: dict, cost: ref.Cost) -> None:
    logits, labels, soft = batch(5)
    loss = LOSSES[name](COUNTS, **arguments)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits,))
    if name != "LDAM":
        assert torch.autograd.gradcheck(lambda z: loss(z, soft), (logits,))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(
    name: str, arguments: dict, cost: ref.Cost, dtype: torch.dtype, device: torch.device
) -> None:
    logits, labels, soft = batch(7, device)
    logits = logits.to(dtype)
    loss = LOSSES[name](COUNTS, **arguments).to(device)
    for targets in (labels, *([] if name == "LDAM" else [soft.float()])):
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(logits, targets)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), loss(logits.double(), targets), rtol=1e-5, atol=0)


@every_loss
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name: str, arguments: dict, cost: ref.Cost, size: float) -> None:
    logits = torch.zeros(5, len(COUNTS)).fill_diagonal_(size).requires_grad_()
    loss = LOSSES[name](COUNTS, **arguments)(logits, torch.arange(5))
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


@settings(deadline=None, max_examples=15)
@given(
    order=st.permutations(range(len(COUNTS))),
    shift=st.floats(-5, 5),
    seed=st.integers(0, 1000),
    which=st.sampled_from(CASES),
)
def test_renaming_classes_or_shifting_logits_changes_nothing(
    order: list[int], shift: float, seed: int, which: tuple[str, dict, ref.Cost]
) -> None:
    name, arguments, _ = which
    shift = 0.0 if name in READ_COSINES else shift
    logits, labels, _ = batch(6, seed=seed)
    expected = LOSSES[name](COUNTS, **arguments)(logits, labels)
    renamed = LOSSES[name]([COUNTS[c] for c in order], **arguments)
    position = torch.tensor(np.argsort(order))
    torch.testing.assert_close(renamed(logits[:, order] + shift, position[labels]), expected, rtol=1e-6, atol=1e-8)


@every_loss
def test_nothing_is_saved_and_counts_may_be_a_list_an_array_or_a_tensor(
    name: str, arguments: dict, cost: ref.Cost
) -> None:
    logits, labels, _ = batch(5)
    losses = [LOSSES[name](kind(COUNTS), **arguments) for kind in (list, np.array, torch.tensor)]
    assert all(loss.state_dict() == {} for loss in losses)
    assert len({loss(logits, labels).item() for loss in losses}) == 1


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("counts", [[5, 0, 3], [5, -1], [5], [[5, 3]], [5, float("nan")]])
def test_refuses_bad_counts(name: str, counts: list) -> None:
    with pytest.raises(ValueError, match=r"class_counts must be|needs a training image"):
        LOSSES[name](counts)


@pytest.mark.parametrize("name", LOSSES)
def test_refuses_logits_of_other_classes(name: str) -> None:
    with pytest.raises(ValueError, match="5 classes"):
        LOSSES[name](COUNTS)(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"LDAM"}))
@pytest.mark.parametrize(
    "targets",
    [
        torch.zeros(3, dtype=torch.long),
        torch.zeros(4),
        torch.zeros(4, 4),
        torch.zeros(4, len(COUNTS), dtype=torch.long),
        torch.zeros(1, len(COUNTS)),
    ],
    ids=["too few", "float labels", "other classes", "integer matrix", "would broadcast"],
)
def test_refuses_targets_that_do_not_fit(name: str, targets: Tensor) -> None:
    with pytest.raises(ValueError, match="Targets must be"):
        LOSSES[name](COUNTS)(torch.randn(4, len(COUNTS)), targets)


def test_only_ldam_has_a_schedule() -> None:
    logits, labels, _ = batch(5)
    for name, loss_class in LOSSES.items():
        loss = loss_class(COUNTS)
        before = loss(logits, labels)
        loss.set_epoch(199, 200)
        assert torch.equal(loss(logits, labels), before) == (name != "LDAM")


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("label", [-1, -100, 5])
def test_labels_of_no_class(name: str, label: int) -> None:
    loss = LOSSES[name](COUNTS)
    with pytest.raises(ValueError, match="Class indices must be from 0 to 4: leave samples without a label out"):
        loss(torch.randn(3, 5), torch.tensor([0, label, 4]))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("targets", [torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5)], ids=["hard", "soft"])
def test_an_empty_batch(name: str, targets: Tensor) -> None:
    with pytest.raises(ValueError, match="The batch is empty"):
        LOSSES[name](COUNTS)(torch.zeros(0, 5), targets)
