"""In which precision every regularizer computes and keeps its state, whatever that of features and classifier."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sar_cls import SAR

from .cases import FEAT_DIM, NUM_CLASSES, all_cases, assert_same_state, build, draw_batch, state_of, step


@all_cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_float32(case: str, dtype: torch.dtype, device: torch.device) -> None:
    module, classifier = build(case, device)
    twin = copy.deepcopy(module)
    features, targets = draw_batch(device, soft=True)
    half, gradients = step(module, classifier, features.to(dtype), targets.to(dtype))
    full, _ = step(twin, classifier, features.to(dtype).float(), targets.to(dtype).float())
    assert gradients[0] is None or gradients[0].dtype == dtype
    for key in half:
        assert half[key].dtype == torch.float32
        assert torch.equal(half[key], full[key])
    assert_same_state(state_of(module), state_of(twin))


@all_cases
def test_autocast_is_off_inside(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    twin = copy.deepcopy(module)
    batch = draw_batch(device)
    inside, inside_gradients = step(module, classifier, *batch, autocast=True)
    outside, outside_gradients = step(twin, classifier, *batch)
    for key in inside:
        assert inside[key].dtype == torch.float32
        assert torch.equal(inside[key], outside[key])
    for first, second in zip(inside_gradients, outside_gradients, strict=True):
        assert (first is None) == (second is None)
        assert first is None or second is None or torch.equal(first, second)
    assert_same_state(state_of(module), state_of(twin))


@all_cases
def test_float64_features_are_computed_in_float64(case: str, device: torch.device) -> None:
    module, classifier = build(case, device, torch.float64)
    features, targets = draw_batch(device)
    assert all(loss.dtype == torch.float64 for loss in module(features.double(), targets, classifier).values())


def test_a_state_that_was_drawn_in_half_precision() -> None:
    torch.set_default_dtype(torch.bfloat16)  # the one way to such a state
    try:
        module = SAR(NUM_CLASSES, FEAT_DIM)
    finally:
        torch.set_default_dtype(torch.float32)
    assert module.class_anchors.dtype == torch.bfloat16
    features, targets = draw_batch("cpu")
    classifier = nn.Linear(FEAT_DIM, NUM_CLASSES, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"convert the regularizer by \.float\(\)"):
        module(features.bfloat16(), targets, classifier)
    module.float()(features.bfloat16(), targets, classifier)  # the advice works


@all_cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_state_stays_in_float32(case: str, dtype: torch.dtype, device: torch.device) -> None:
    module, classifier = build(case, device)
    before = state_of(module)
    whole = nn.ModuleDict({"regularizer": module, "classifier": classifier}).to(dtype)
    assert classifier.weight.dtype == dtype
    assert_same_state(before, state_of(module))
    for state in state_of(module).values():
        assert state.dtype != dtype
    whole.double()
    assert all(state.dtype == torch.float64 for state in state_of(module).values() if state.is_floating_point())


@all_cases
def test_a_classifier_in_bfloat16_is_computed_in_float32(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    classifier.bfloat16()
    twin, full = copy.deepcopy(module), copy.deepcopy(classifier).float()
    features, targets = draw_batch(device)
    losses, gradients = step(module, classifier, features.bfloat16(), targets)
    expected, expected_gradients = step(twin, full, features.bfloat16().float(), targets)
    for key, value in losses.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key])
    inputs = [features.bfloat16(), *classifier.parameters(), *module.parameters()]
    for given, gradient, wanted in zip(inputs, gradients, expected_gradients, strict=True):
        assert (gradient is None) == (wanted is None)
        if gradient is not None and wanted is not None:
            assert gradient.dtype == given.dtype
            torch.testing.assert_close(gradient, wanted.to(given.dtype))
    assert_same_state(state_of(module), state_of(twin))
