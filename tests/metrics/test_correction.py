"""Post-hoc methods against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sar_cls.metrics.correction import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    adjust_logits,
    anchor_logits,
    apply_temperature,
    fit_temperature,
    mixed_log_probabilities,
    tau_normalize,
    tau_normalized_linear,
)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_logit_adjustment_against_the_formula(tau: float, shape: tuple[int, ...], device: torch.device) -> None:
    counts = [500, 60, 7]
    logits = torch.randn(shape, dtype=torch.float64, device=device)
    found = adjust_logits(logits, counts, tau).reshape(-1, 3)
    for row, before in zip(found.tolist(), logits.reshape(-1, 3).tolist(), strict=True):
        assert row == pytest.approx([z - tau * math.log(n / 567) for z, n in zip(before, counts, strict=True)])


def test_logit_adjustment_recovers_the_balanced_bayes_rule() -> None:
    # Exact posteriors under the long-tailed prior become exact posteriors under the uniform one.
    rng = np.random.default_rng(0)
    counts = np.array([90, 9, 1])
    likelihood = rng.random((50, 3))
    longtailed = likelihood * counts
    adjusted = adjust_logits(torch.tensor(np.log(longtailed / longtailed.sum(1, keepdims=True))), counts)
    expected = likelihood / likelihood.sum(1, keepdims=True)
    np.testing.assert_allclose(adjusted.softmax(1).numpy(), expected, rtol=1e-10)


def test_logit_adjustment_widens_float16() -> None:
    assert adjust_logits(torch.zeros(2, 3).half(), [5, 3, 1]).dtype == torch.float32


def test_logit_adjustment_refuses_other_counts() -> None:
    with pytest.raises(ValueError, match="3 classes but there are 2"):
        adjust_logits(torch.zeros(2, 3), [5, 3])
    with pytest.raises(ValueError, match="classes \\[1\\] have none"):
        adjust_logits(torch.zeros(2, 3), [5, 0, 3])


@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0])
def test_tau_normalization_against_a_loop(tau: float, device: torch.device) -> None:
    weight = torch.randn(4, 6, dtype=torch.float64, device=device) * torch.tensor(
        [[1.0], [5.0], [0.1], [2.0]], device=device
    )
    found = tau_normalize(weight, tau).tolist()
    for row, before in zip(found, weight.tolist(), strict=True):
        norm = math.sqrt(sum(v * v for v in before))
        assert row == pytest.approx([v / norm**tau for v in before], rel=1e-12)


def test_a_zero_weight_stays_zero() -> None:
    assert torch.equal(tau_normalize(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_tau_normalized_linear_is_a_copy_without_bias() -> None:
    linear = nn.Linear(5, 3)
    before = {name: tensor.clone() for name, tensor in linear.state_dict().items()}
    normalized = tau_normalized_linear(linear, tau=1.0)
    x = torch.randn(2, 5)
    torch.testing.assert_close(normalized(x), x @ nn.functional.normalize(linear.weight).T)
    torch.testing.assert_close(tau_normalized_linear(linear, 0.0, keep_bias=True)(x), linear(x))
    torch.testing.assert_close(
        tau_normalized_linear(nn.Linear(5, 3, bias=False), 1.0).weight.norm(dim=1), torch.ones(3)
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in linear.state_dict().items())


def mean_nll(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    total = 0.0
    for row, y in zip(logits / temperature, labels, strict=True):
        total += max(row) + math.log(sum(math.exp(v - max(row)) for v in row)) - row[y]
    return total / len(labels)


@settings(deadline=None, max_examples=8)
@given(temperature=st.floats(0.2, 6.0), seed=st.integers(0, 1000))
def test_fit_finds_the_minimum(temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((300, 4)) * 2
    cumulative = np.cumsum(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), axis=1)
    labels = np.minimum((cumulative < rng.random((300, 1))).sum(1), 3)  # drawn from the logits: calibrated at T = 1
    found = fit_temperature(logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.35)
    best = mean_nll(logits * temperature, labels, found)
    assert best <= mean_nll(logits * temperature, labels, temperature)
    for factor in (0.98, 0.999, 1.001, 1.02):
        assert best <= mean_nll(logits * temperature, labels, found * factor)


def test_fit_scales_with_the_logits(device: torch.device) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(200, 3) * 3, torch.randint(3, (200,))  # the same numbers on every device
    logits, labels = logits.to(device), labels.to(device)
    once = fit_temperature(logits, labels)
    assert fit_temperature(logits * 2, labels) == pytest.approx(2 * once, rel=1e-4)


def test_a_minimum_beyond_the_bounds_gives_the_bound() -> None:
    logits = np.eye(3)
    assert fit_temperature(logits, np.arange(3)) == pytest.approx(MIN_TEMPERATURE)
    assert fit_temperature(logits * 5, np.array([1, 2, 0])) == pytest.approx(MAX_TEMPERATURE)


def test_temperature_keeps_the_ranking() -> None:
    logits = torch.randn(20, 5).half()
    scaled = apply_temperature(logits, 2.5)
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, logits.float() / 2.5)
    assert torch.equal(scaled.argmax(1), logits.argmax(1))


def test_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match="positive"):
        apply_temperature(torch.zeros(2, 3), 0.0)
    with pytest.raises(ValueError, match="logits \\[n, C\\]"):
        fit_temperature(np.zeros((2, 3)), np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="logits \\[n, C\\]"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 1.0]]), np.array([0]))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_anchor_logits_against_a_loop(distance: str, device: torch.device) -> None:
    features, anchors = torch.randn(7, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    found = anchor_logits(features.to(device), anchors.to(device), distance, scale=5.0).cpu().softmax(dim=1).numpy()
    for n in range(7):
        if distance == "cosine":
            scores = [5 * float(features[n] @ a / features[n].norm() / a.norm()) for a in anchors]
        else:
            scores = [-0.5 * float((features[n] - a).square().sum()) for a in anchors]
        expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(found[n], expected, rtol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_probabilities_against_a_loop(share: float, device: torch.device) -> None:
    logits, others = torch.randn(5, 4, dtype=torch.float64), 3 * torch.randn(5, 4, dtype=torch.float64)
    found = mixed_log_probabilities(logits.to(device), others.to(device), share).cpu()
    expected = (1 - share) * logits.softmax(dim=1) + share * others.softmax(dim=1)
    torch.testing.assert_close(found.exp(), expected)


def test_anchor_logits_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="choose one of cosine, euclidean"):
        anchor_logits(torch.zeros(2, 3), torch.zeros(4, 3), "l1")
    with pytest.raises(ValueError, match=r"anchors \[C, D\]"):
        anchor_logits(torch.zeros(2, 3), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="from 0 to 1"):
        mixed_log_probabilities(torch.zeros(2, 3), torch.zeros(2, 3), 1.5)
