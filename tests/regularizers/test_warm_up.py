"""The warm-up's factor against a loop, and what it does with its count."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.regularizers.warm_up import LinearWarmUp

from . import reference


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 7), st.lists(st.booleans(), max_size=12))
def test_the_factor_of_each_step_whatever_is_evaluated_in_between(steps: int, training: list[bool]) -> None:
    warm_up, trained = LinearWarmUp(steps), 0
    for is_training in training:
        factor = warm_up.train(is_training)(torch.float64)
        assert float(factor) == reference.warm_up(trained, steps)
        trained += is_training
    assert warm_up.count.item() == (trained if steps else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_factor_is_a_scalar_on_the_device_in_the_dtype_of_the_loss(
    dtype: torch.dtype, device: torch.device
) -> None:
    factor = LinearWarmUp(3).to(device)(dtype)
    assert isinstance(factor, torch.Tensor)
    assert (factor.shape, factor.dtype, factor.device.type) == ((), dtype, device.type)
    assert LinearWarmUp(0)(dtype) == 1.0


def test_a_factor_stays_what_it_was_when_the_count_goes_on() -> None:
    """Two steps before one backward pass."""
    warm_up, weight = LinearWarmUp(4), torch.ones((), requires_grad=True)
    for _ in range(2):
        warm_up(torch.float32)
    first = warm_up(torch.float32) * weight
    warm_up(torch.float32)
    (gradient,) = torch.autograd.grad(first, weight)
    assert gradient.item() == first.item() == 0.5


def test_the_count_goes_with_the_checkpoint_and_survives_half_precision() -> None:
    warm_up = LinearWarmUp(4)
    for _ in range(3):
        warm_up(torch.float32)
    resumed = LinearWarmUp(4)
    resumed.load_state_dict(copy.deepcopy(warm_up.state_dict()))
    assert resumed(torch.float32) == warm_up(torch.float32) == 0.75
    assert warm_up.half().count.dtype == torch.int64
    older = LinearWarmUp(4)
    older(torch.float32)
    older.load_state_dict({})
    assert older.count.item() == 1
