"""Learnable weight scaling against its definition, and how stage 2 continues from a stage-1 classifier."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sar_cls.models import ScaledLinear, WeightScaling


def test_scaling_starts_as_identity(device: torch.device) -> None:
    logits = torch.randn(5, 3, device=device)
    assert torch.equal(WeightScaling(3).to(device)(logits), logits)


def test_scaling_multiplies_each_class_and_its_gradient_is_the_sum_of_its_logits() -> None:
    scaling = WeightScaling(3)
    with torch.no_grad():
        scaling.scale.copy_(torch.tensor([1.0, 2.0, -0.5]))
    logits = torch.randn(5, 3)
    out = scaling(logits)
    for n in range(5):
        for c, factor in enumerate([1.0, 2.0, -0.5]):
            assert out[n, c].item() == pytest.approx(factor * logits[n, c].item())
    out.sum().backward()
    torch.testing.assert_close(scaling.scale.grad, logits.sum(0))


@pytest.mark.parametrize("bias", [True, False])
def test_scaled_linear_continues_from_a_linear(device: torch.device, bias: bool) -> None:
    linear = nn.Linear(4, 3, bias=bias).to(device)
    before = linear.weight.detach().clone()
    scaled = ScaledLinear.from_linear(linear)
    x = torch.randn(2, 4, device=device)
    torch.testing.assert_close(scaled(x), linear(x))
    with torch.no_grad():
        scaled.scaling.scale.fill_(3.0)
        torch.testing.assert_close(scaled(x), 3 * linear(x))  # the bias is scaled too
        scaled.weight.zero_()
    assert torch.equal(linear.weight, before)
    assert len(scaled.linear_parameters()) == 1 + bias


def test_stage_1_state_lacks_only_the_scale() -> None:
    linear = nn.Linear(4, 3)
    scaled = ScaledLinear(4, 3)
    missing, unexpected = scaled.load_state_dict(linear.state_dict(), strict=False)
    assert missing == ["scaling.scale"]
    assert unexpected == []
    x = torch.randn(2, 4)
    torch.testing.assert_close(scaled(x), linear(x))


@pytest.mark.parametrize("train_linear", [True, False])
def test_what_is_trained(train_linear: bool) -> None:
    scaled = ScaledLinear.from_linear(nn.Linear(4, 3), train_linear=train_linear)
    scaled(torch.randn(2, 4)).sum().backward()
    assert scaled.scaling.scale.grad is not None
    assert (scaled.weight.grad is not None) == train_linear
    assert (scaled.bias.grad is not None) == train_linear


def test_refuses_no_classes() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        WeightScaling(0)
