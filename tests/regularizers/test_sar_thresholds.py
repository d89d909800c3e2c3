"""SAR at its thresholds: what tau suppresses, what delta lets through the gate, and probabilities at the ends of the scale."""

from __future__ import annotations

import math

import pytest
import torch

from sar_cls import SAR

from .batches import draw_batch
from .sar_cases import Table, embed, jitter, make, table_of_probs


def test_all_above_tau__aux_is_exactly_zero(device: torch.device) -> None:
    sar = make((3, 4, 2), device, tau=0.9)
    table = table_of_probs([0.91, 0.95, 0.99], device)
    loss = sar(*draw_batch((3, 4, 2), False, device)[:2], table)["loss_aux"]
    loss.backward()
    assert loss.item() == 0
    assert table.logits.grad is not None
    assert torch.equal(table.logits.grad, torch.zeros_like(table.logits))
    assert all(not p.grad.any() for p in sar.parameters() if p.grad is not None)


@pytest.mark.parametrize(("last", "is_zero"), [(0.9 + 1e-9, True), (0.9 - 1e-9, False)])
def test_just_above_and_just_below_tau(last: float, is_zero: bool, device: torch.device) -> None:
    sar = make((3, 4, 2), device, tau=0.9)
    loss = sar(*draw_batch((3, 4, 2), False, device)[:2], table_of_probs([0.95, 0.99, last], device))["loss_aux"]
    # Below: the one anchor left has the whole weight.
    assert loss.item() == (0 if is_zero else pytest.approx(-math.log(last), rel=1e-7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("tau", [0.9, 1.0])
@pytest.mark.parametrize("margin", [-1e4, -50.0, 0.0, 17.0, 19.0, 20.7, 20.8, 21.4, 22.5, 40.0, 1e4])
def test_extreme_probabilities_stay_finite(margin: float, tau: float, through: bool, dtype: torch.dtype) -> None:
    """From p = 0 (below the smallest float) to p = 1, through the pole that the published 1e-9 has for tau = 1."""
    sar = SAR(3, 4, tau=tau, grad_through_weights=through).to(dtype)
    table = Table((margin * torch.eye(3)).to(dtype))
    loss = sar(torch.randn(2, 4, dtype=dtype), torch.tensor([0, 2]), table)["loss_aux"]
    loss.backward()
    assert table.logits.grad is not None
    assert torch.isfinite(table.logits.grad).all()
    assert table.logits.grad.abs().max() <= 3
    # All anchors are alike, so the weighted mean is the cross-entropy of each, unless it is suppressed.
    each = math.log1p(2 * math.exp(-margin)) if margin > -100 else math.log(2) - margin
    suppressed = tau < 1 and margin > 10
    if not suppressed and each > 1e-6:
        assert loss.item() == pytest.approx(each, rel=1e-2 if each < 1e-4 else 1e-5, abs=math.log(3) * 1e-6)
    else:
        assert 0 <= loss.item() <= (0 if suppressed else 3 * each + 1e-7)


@pytest.mark.parametrize(("gap", "is_number"), [(100.0, True), (110.0, False)])
def test_finite_where_the_published_formula_is_not_a_number(gap: float, is_number: bool) -> None:
    """The logarithm of a softmax in float32, as published, against that of a log-softmax in float64."""
    logits = torch.zeros(3, 3).fill_diagonal_(2.0)
    logits[0, 1] = gap + 2.0
    log_of_softmax = logits.softmax(dim=1).diagonal().log()
    published = log_of_softmax / (log_of_softmax.sum() + 1e-9)
    assert bool(published.isfinite().all()) is is_number
    exact = logits.double().log_softmax(dim=1).diagonal().numpy()
    expected = -float((exact / exact.sum() * exact).sum())
    loss = SAR(3, 4, tau=1.0)(torch.randn(2, 4), torch.tensor([0, 2]), Table(logits))["loss_aux"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("total", [1e-9, 1.0000001e-9, 5e-10, 2e-9, 0.0])
def test_the_pole_of_the_weights_is_out_of_reach(total: float, dtype: torch.dtype) -> None:
    """With tau = 1 the sum of log-probabilities may be -1e-9, where the published denominator is 0."""
    log_probs = torch.tensor([-total, 0.0, 0.0], dtype=dtype, requires_grad=True)
    loss = SAR(3, 4, tau=1.0)._aux_loss(log_probs, log_probs.detach().exp())
    loss.backward()
    assert 0 <= loss.item() <= 2 * total
    assert log_probs.grad is not None
    assert log_probs.grad.abs().max() <= 4


@pytest.mark.parametrize("gate", ["all", "per_class"])
@pytest.mark.parametrize("is_open", [False, True])
def test_gate_just_closed_and_just_open(gate: str, is_open: bool, device: torch.device) -> None:
    sar = make((3, 4, 2), device, delta=0.8, gate=gate)
    embedded = embed(sar)
    table = table_of_probs([0.95, 0.8 + (1e-9 if is_open else -1e-9), 0.99], device)
    features = torch.randn(2, 4, dtype=torch.float64, device=device, requires_grad=True)
    labels = torch.ones(2, dtype=torch.int64, device=device)
    loss = sar(features, labels, table)["loss_anchor"]
    loss.backward()
    assert features.grad is not None
    others = is_open or gate == "per_class"
    assert sar.initialized.tolist() == [others, is_open, others]
    expected = embedded * sar.initialized.unsqueeze(1)
    assert torch.equal(sar.semantic_anchors, expected)  # the first accepted h(A) is copied as it is
    if is_open:
        assert loss.item() == pytest.approx(0.1 * (features - embedded[1]).square().mean().item())
        assert features.grad.abs().min() > 0
    else:
        assert loss.item() == 0
        assert not features.grad.any()


def test_a_probability_above_delta_of_the_wrong_class_is_not_accepted(device: torch.device) -> None:
    sar = make((3, 4, 2), device, delta=0.2, gate="per_class")
    table = table_of_probs([0.9, 0.9, 0.9], device)
    with torch.no_grad():
        table.logits[1] = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    sar(*draw_batch((3, 4, 2), False, device)[:2], table)
    assert sar.initialized.tolist() == [True, False, True]


def test_closed_gate_lets_no_infinite_feature_through(device: torch.device) -> None:
    sar = make((3, 4, 2), device)
    features = torch.full((2, 4), torch.inf, dtype=torch.float64, device=device)
    loss = sar(features, torch.tensor([0, 1], device=device), table_of_probs([0.5, 0.9, 0.9], device))["loss_anchor"]
    assert loss.item() == 0


def test_momentum_zero_keeps_the_last_anchor(device: torch.device) -> None:
    sar = make((3, 4, 2), device, momentum=0.0)
    for _ in range(2):
        jitter(sar.embedding, 0.1)
        embedded = embed(sar)
        sar(*draw_batch((3, 4, 2), False, device)[:2], table_of_probs([0.9, 0.9, 0.9], device))
        assert torch.equal(sar.semantic_anchors, embedded)
