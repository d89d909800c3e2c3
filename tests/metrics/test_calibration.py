"""The calibration error and its bins against a loop, and what a temperature does to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.metrics import (
    calibration_error,
    evaluate,
    evaluate_calibrated,
    reliability_bins,
)
from sar_cls.torchvision_shim import import_torchvision

from .accuracy_loops import loop_ece, loop_evaluate, random_case


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=40),
    bins=st.sampled_from([1, 2, 8, 16]),  # binary edges and values: no rounding at the edges
)
def test_calibration_error_against_a_loop(values: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = [v for v, _ in values], [c for _, c in values]
    found = calibration_error(torch.tensor(confidence), torch.tensor(correct), bins)
    assert found == pytest.approx(loop_ece(confidence, correct, bins), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("number", "bins"), [(1, 15), (500, 15), (300, 7)])
def test_calibration_error_of_torchmetrics_is_the_same(number: int, bins: int) -> None:
    import_torchvision()  # torchmetrics imports it
    from torchmetrics.functional.classification import binary_calibration_error

    confidence = torch.rand(number, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    correct = torch.arange(number) % 3 > 0
    expected = 100 * binary_calibration_error(confidence, correct.long(), n_bins=bins)
    assert calibration_error(confidence, correct, bins) == pytest.approx(expected.item(), rel=1e-5)


def test_full_confidence_shares_the_last_bin() -> None:
    # 1.0 wrong and 0.95 right: one bin, |1/2 - 0.975|. Two bins of one each would give (1 + 0.05) / 2.
    found = calibration_error(torch.tensor([1.0, 0.95]), torch.tensor([False, True]))
    assert found == pytest.approx(47.5, rel=1e-5)


def test_perfect_and_worst_calibration() -> None:
    assert calibration_error(torch.full((4,), 0.75), torch.tensor([True, True, True, False])) == pytest.approx(
        0, abs=1e-5
    )
    assert calibration_error(torch.ones(4), torch.zeros(4, dtype=torch.bool)) == pytest.approx(100, rel=1e-5)


def test_reliability_bins_average_to_the_ece(device: torch.device) -> None:
    logits, labels = random_case(200, 4, 3)
    bins = reliability_bins(torch.tensor(logits, device=device), torch.tensor(labels, device=device))
    assert bins["edges"].tolist() == pytest.approx(np.linspace(0, 1, 16).tolist())
    assert bins["count"].sum() == 200
    empty = bins["count"] == 0
    assert empty.any()
    assert np.array_equal(np.isnan(bins["accuracy"]), empty)
    assert np.array_equal(np.isnan(bins["confidence"]), empty)
    gap = np.abs(bins["accuracy"] - bins["confidence"])[~empty]
    ece = (bins["count"][~empty] * gap).sum() / 200
    assert ece == pytest.approx(evaluate(logits, labels)["ece"], rel=1e-5)
    assert ece == pytest.approx(loop_evaluate(logits, labels, None)["ece"], rel=1e-5)


def test_saturated_logits_are_fine() -> None:
    metrics = evaluate(np.array([[60000, -60000], [60000, -60000]], dtype=np.float16), np.array([0, 1]))
    assert metrics["nll"] == pytest.approx(60000.0)
    assert metrics["ece"] == pytest.approx(50.0, rel=1e-5)
    assert metrics["brier"] == pytest.approx(1.0)


def test_evaluate_calibrated__undoes_a_known_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    # Labels drawn from the logits' own softmax: T = 1 is right for them, and T = 3 for three times the logits.
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in prob])
    result = evaluate_calibrated(3 * logits[:2000], labels[:2000], 3 * logits[2000:], labels[2000:])
    assert result["temperature"] == pytest.approx(3.0, rel=0.1)
    scaled = 3 * logits[:2000] / result["temperature"]
    log_prob = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    assert result["nll_calibrated"] == pytest.approx(-log_prob[np.arange(2000), labels[:2000]].mean(), rel=1e-5)
    plain = evaluate(3 * logits[:2000], labels[:2000])
    assert result["ece_calibrated"] < plain["ece"] / 2
    assert set(result) == {"temperature", *(f"{key}_calibrated" for key in ("ece", "classwise_ece", "nll", "brier"))}
