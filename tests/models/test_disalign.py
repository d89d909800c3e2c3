"""DisAlign's calibration against a loop over its formula, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sar_cls.mm.head import RegularizedLinearClsHead
from sar_cls.models import CalibratedLinear, ScoreCalibration, freeze_all_but


def drawn(calibration: ScoreCalibration, seed: int = 0) -> ScoreCalibration:
    """With weights that are not those of the start, in float64."""
    generator = torch.Generator().manual_seed(seed)
    calibration.double()
    with torch.no_grad():
        for parameter in calibration.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return calibration


def by_loop(calibration: ScoreCalibration, scores: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The formula, sample by sample and class by class: scores [n, C], features [n, D]."""
    linear = calibration.confidence[0]
    weight = linear.weight.detach().numpy().reshape(-1)
    bias = 0.0 if linear.bias is None else linear.bias.item()
    raw = np.array([sum(w * x for w, x in zip(weight, row, strict=True)) + bias for row in features])
    if len(calibration.confidence) > 1:  # batch norm in training, then ReLU
        norm = calibration.confidence[1]
        scale = norm.weight.item() / math.sqrt(raw.var() + norm.eps)
        raw = np.array([max(0.0, scale * (value - raw.mean()) + norm.bias.item()) for value in raw])
    alpha, beta = calibration.magnitude.tolist(), calibration.margin.tolist()
    found = np.zeros_like(scores)
    for n, row in enumerate(scores):
        sigma = 1 / (1 + math.exp(-raw[n]))
        for c, score in enumerate(row):
            if calibration.form == "mixed":
                found[n, c] = sigma * (alpha[c] * score + beta[c]) + (1 - sigma) * score
            else:
                found[n, c] = (1 + sigma * alpha[c]) * score + sigma * beta[c]
    return found


def as_rows(maps: Tensor) -> np.ndarray:
    return maps.movedim(1, -1).reshape(-1, maps.shape[1]).detach().numpy()


@pytest.mark.parametrize("confidence", ["linear", "normalized"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
@pytest.mark.parametrize("form", ["mixed", "added"])
def test_it_follows_the_formula(confidence: str, shape: tuple[int, ...], form: str) -> None:
    maps = len(shape) > 1
    calibration = drawn(ScoreCalibration(3, 4, confidence, maps=maps, form=form))
    scores = torch.randn(shape[0], 3, *shape[1:], dtype=torch.float64)
    features = torch.randn(shape[0], 4, *shape[1:], dtype=torch.float64)
    expected = by_loop(calibration, as_rows(scores), as_rows(features))
    np.testing.assert_allclose(as_rows(calibration(scores, features)), expected, rtol=1e-9)


@pytest.mark.parametrize("confidence", ["linear", "normalized"])
def test_it_starts_as_identity(confidence: str, device: torch.device) -> None:
    calibration = ScoreCalibration(3, 4, confidence).to(device)
    scores, features = torch.randn(6, 3, device=device), torch.randn(6, 4, device=device)
    torch.testing.assert_close(calibration(scores, features), scores)


@given(seed=st.integers(0, 2**31), confidence=st.sampled_from(["linear", "normalized"]))
def test_the_added_form_is_the_mixed_one_with_a_magnitude_one_larger(seed: int, confidence: str) -> None:
    added = drawn(ScoreCalibration(3, 4, confidence, form="added"), seed)
    mixed = ScoreCalibration(3, 4, confidence).double()
    mixed.load_state_dict(added.state_dict())
    with torch.no_grad():
        mixed.magnitude += 1
    generator = torch.Generator().manual_seed(seed)
    scores, features = (torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (3, 4))
    torch.testing.assert_close(added(scores, features), mixed(scores, features))


def test_the_added_form_starts_with_a_confidence_of_equal_weights() -> None:
    calibration = ScoreCalibration(3, 4, form="added")
    with torch.no_grad():
        calibration.confidence[0].bias.fill_(-0.2)
    features = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    sigma = 1 / (1 + math.exp(-(0.1 * 10 - 0.2)))
    found = calibration(torch.tensor([[1.0, -2.0, 0.5]]), features)
    torch.testing.assert_close(found, (1 + sigma) * torch.tensor([[1.0, -2.0, 0.5]]))


def test_a_head_that_draws_its_linear_layers_leaves_that_start_alone() -> None:
    init = dict(type="Kaiming", layer="Linear")
    weights = {}
    for form in ("mixed", "added"):
        head = RegularizedLinearClsHead(5, 4, classifier=dict(type="disalign", form=form), init_cfg=init)
        head.init_weights()
        weights[form] = head.fc.calibration.confidence[0].weight
    assert torch.equal(weights["added"], torch.full((1, 4), 0.1))
    assert not torch.equal(weights["mixed"], weights["added"])


def test_a_sure_confidence_aligns_and_none_leaves_the_scores() -> None:
    calibration = ScoreCalibration(2, 1)
    with torch.no_grad():
        calibration.magnitude.copy_(torch.tensor([2.0, 0.5]))
        calibration.margin.copy_(torch.tensor([1.0, -1.0]))
        calibration.confidence[0].weight.fill_(1.0)
        calibration.confidence[0].bias.zero_()
    scores = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    found = calibration(scores, torch.tensor([[100.0], [-100.0]]))
    torch.testing.assert_close(found, torch.tensor([[7.0, 1.0], [3.0, 4.0]]))


def test_a_linear_s_state_loads_and_only_the_calibration_learns() -> None:
    linear, calibrated = nn.Linear(4, 3), CalibratedLinear(4, 3)
    left_out = calibrated.load_state_dict(linear.state_dict(), strict=False)
    assert all(key.startswith("calibration.") for key in left_out.missing_keys)
    assert not left_out.unexpected_keys
    x = torch.randn(5, 4)
    torch.testing.assert_close(calibrated(x), linear(x))
    nn.functional.cross_entropy(calibrated(x), torch.tensor([0, 1, 2, 0, 1])).backward()
    with_gradient = {name for name, value in calibrated.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, _ in calibrated.named_parameters() if name.startswith("calibration.")}
    assert CalibratedLinear(4, 3, train_linear=True).weight.requires_grad
    assert CalibratedLinear(4, 3, bias=False).bias is None


def test_all_but_the_named_parts_stands_still() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.BatchNorm1d(2))
    model.train()
    freeze_all_but(model, model[3])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(8, 2)).sum().backward()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"3.running_mean", "3.running_var", "3.num_batches_tracked"}
    assert {name for name, value in model.named_parameters() if value.requires_grad} == {"3.weight", "3.bias"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "at least 1, not 0 and 4"),
        ((3, 0), "at least 1, not 3 and 0"),
        ((3, 4, "softmax"), "unknown confidence 'softmax': choose one of linear, normalized"),
        ((3, 4, "linear", False, "product"), "unknown form 'product': choose one of mixed, added"),
    ],
)
def test_bad_values(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreCalibration(*arguments)
