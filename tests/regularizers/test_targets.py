"""Labels of either form and weights of samples: the parts, and what weights do to every method.

A sample of weight k is k samples: the loops of ``reference.py``, which know no weights, are given it k times, and a sample of
weight 0 not at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sar_cls import CAR, REGULARIZERS, SAR, CenterLoss, FixedAnchors, Regularizer
from sar_cls.regularizers.targets import Targets

from . import reference
from .batches import numpy
from .cases import CASES, FEAT_DIM, NUM_CLASSES, all_cases, assert_same_state, build, draw_batch, state_of, step
from .sar_cases import nearest_anchor_classifier

COUNTS = {
    "some ignored": [1, 0, 1, 1, 0, 0, 1, 1],
    "counted several times": [3, 1, 0, 2, 0, 1, 1, 4],
    "one left": [0, 0, 0, 1, 0, 0, 0, 0],
    "none left": [0] * 8,
}
all_counts = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)


def draw(soft: bool, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor, np.ndarray]:
    """Features, targets, and the label weights of the reference; the last class is absent."""
    features, targets = draw_batch("cpu", seed, soft)
    targets = targets.double() / targets.double().sum(dim=1, keepdim=True) if soft else targets
    weights = targets.numpy() if soft else reference.one_hot(targets.numpy(), NUM_CLASSES)
    return features.double().to(device), targets.to(device), weights


# The parts


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_parts_against_loops(soft: bool, weighted: bool) -> None:
    features, given_targets, y = draw(soft, torch.device("cpu"))
    s = torch.tensor([0.5, 0, 1, 2, 0, 1.25, 1, 0], dtype=torch.float64) if weighted else None
    targets = Targets(NUM_CLASSES, torch.float64, **{"soft" if soft else "labels": given_targets}, sample_weights=s)
    weight = np.ones(8) if s is None else s.numpy()
    f, rows = features.numpy(), np.arange(15.0).reshape(5, 3) ** 1.5
    classes = [True, False, True, True, False]
    np.testing.assert_array_equal(targets.label_weights().numpy(), y)
    picked, on = np.zeros((8, 3)), np.zeros(8)
    totals, counts = np.zeros((5, FEAT_DIM)), np.zeros(5)
    for i in range(8):
        for c in range(5):
            picked[i] += y[i, c] * rows[c]
            on[i] += y[i, c] * classes[c]
            totals[c] += weight[i] * y[i, c] * f[i]
            counts[c] += weight[i] * y[i, c]
    np.testing.assert_allclose(targets.pick(torch.from_numpy(rows)).numpy(), picked, rtol=1e-12)
    np.testing.assert_allclose(targets.weight_on(torch.tensor(classes)).numpy(), on, rtol=1e-12)
    np.testing.assert_allclose(targets.class_totals(features).numpy()[:, :-1], totals, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(targets.class_totals(features).numpy()[:, -1], counts, rtol=1e-12)
    total = sum(weight[i] * f[i].sum() for i in range(8))
    assert targets.mean(features).item() == pytest.approx(total / (weight.sum() * FEAT_DIM), rel=1e-12)
    assert targets.mean_over_all(features).item() == pytest.approx(total / (8 * FEAT_DIM), rel=1e-12)
    assert targets.mean(features[:, 0]).item() == pytest.approx(sum(weight * f[:, 0]) / weight.sum(), rel=1e-12)


def test_nothing_counts() -> None:
    targets = Targets(3, torch.float32, labels=torch.zeros(4).long(), sample_weights=torch.zeros(4))
    values = torch.randn(4, 2, requires_grad=True)
    mean = targets.mean(values)
    mean.backward()
    assert mean.item() == 0
    assert values.grad is not None
    assert not values.grad.any()
    assert targets.zero_without_samples(torch.tensor(3.0)).item() == 0
    assert Targets(3, torch.float32, labels=torch.zeros(4).long()).zero_without_samples(torch.tensor(3.0)).item() == 3


# Every method against its loop


def check(
    loss: Tensor, features: Tensor, expected: Callable[[np.ndarray], float], counts: list[int], name: str = ""
) -> None:
    """Value and gradient; the loop sees every sample as often as it counts."""

    def repeated(f: np.ndarray) -> float:
        return expected(np.repeat(f, counts, axis=0)) if sum(counts) else 0.0

    assert loss.item() == pytest.approx(repeated(numpy(features)), rel=1e-9, abs=1e-12), name
    (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
    numeric = reference.numeric_gradient(repeated, numpy(features))
    np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-5, atol=1e-8, err_msg=name)


@all_counts
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_fixed_anchors(counts: list[int], soft: bool, device: torch.device) -> None:
    module = FixedAnchors(NUM_CLASSES, FEAT_DIM, weight=0.3).double().to(device)
    features, targets, y = draw(soft, device)
    loss = module(features.requires_grad_(), targets, None, torch.tensor(counts).double().to(device))["loss_anchor"]
    anchors, y = numpy(module.class_anchors), np.repeat(y, counts, axis=0)
    check(loss, features, lambda f: 0.3 * reference.anchor_loss(f, y, anchors, [True] * NUM_CLASSES), counts)


@all_counts
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_sar(counts: list[int], soft: bool, gate: str, device: torch.device) -> None:
    torch.manual_seed(0)
    module = SAR(NUM_CLASSES, FEAT_DIM, gate=gate, anchor_weight=0.3).double().to(device)
    classifier = nearest_anchor_classifier(module, 0.4)
    embedded = copy.deepcopy(module).embedding(module.class_anchors)
    probs = classifier(embedded).detach().softmax(dim=1).diagonal().sort().values
    module.delta = probs[:2].mean().item() if gate == "per_class" else 1e-6
    features, targets, y = draw(soft, device)
    losses = module(features.requires_grad_(), targets, classifier, torch.tensor(counts).double().to(device))
    used = module.initialized.tolist()
    assert sum(used) == (NUM_CLASSES if gate == "all" else NUM_CLASSES - 1)
    anchors, y = numpy(module.semantic_anchors), np.repeat(y, counts, axis=0)
    check(losses["loss_anchor"], features, lambda f: 0.3 * reference.anchor_loss(f, y, anchors, used), counts)
    assert losses["loss_aux"].item() > 0  # it knows no samples


@all_counts
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("as_zero", [False, True], ids=["out", "as zero"])
def test_car(counts: list[int], soft: bool, as_zero: bool, device: torch.device) -> None:
    module = CAR(NUM_CLASSES, FEAT_DIM, absent_as_zero=as_zero).double().to(device)
    features, targets, y = draw(soft, device)
    losses = module(features.requires_grad_(), targets, None, torch.tensor(counts).double().to(device))
    y = np.repeat(y, counts, axis=0)
    held, present = reference.centers(np.repeat(numpy(features), counts, axis=0), y)
    has_center = [True] * NUM_CLASSES if as_zero else present
    expected: dict[str, Callable[[np.ndarray], float]] = {
        "loss_intra": lambda f: reference.car_intra(f, y, held),
        "loss_inter_c2c": lambda f: reference.car_c2c(reference.centers(f, y)[0], held, has_center),
        "loss_inter_c2s": lambda f: reference.car_c2s(f, y, held, has_center),
    }
    for name, function in expected.items():
        check(losses[name], features, function, counts, name)


@pytest.mark.parametrize("counts", [c for c in COUNTS.values() if max(c) <= 1], ids=["some", "one left", "none left"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_car_with_the_published_treatment_of_ignored_samples(
    counts: list[int], soft: bool, device: torch.device
) -> None:
    """They add nothing to the numerator of the first term and all to its denominator; in the last they have no class."""
    module = CAR(NUM_CLASSES, FEAT_DIM, intra_counts_ignored=True, c2s_counts_ignored=True).double().to(device)
    features, targets, y = draw(soft, device)
    losses = module(features.requires_grad_(), targets, None, torch.tensor(counts).double().to(device))
    kept = [i for i in range(8) if counts[i]]
    held, has_center = reference.centers(numpy(features)[kept], y[kept])
    without_class = y * np.array(counts)[:, None]

    def intra(f: np.ndarray) -> float:
        total = 0.0
        for i in kept:
            total += np.abs(sum(y[i, c] * held[c] for c in range(NUM_CLASSES)) - f[i]).sum()
        return float(max((total / f.size) ** 2, 1e-5)) if kept else 0.0

    def c2s(f: np.ndarray) -> float:
        return reference.car_c2s(f, without_class, held, has_center) if kept else 0.0

    check(losses["loss_intra"], features, intra, [1] * 8)
    check(losses["loss_inter_c2s"], features, c2s, [1] * 8)
    if 1 < len(kept) < 8:
        weights = torch.tensor(counts).double().to(device)
        plain = CAR(NUM_CLASSES, FEAT_DIM).double().to(device)(features, targets, None, weights)
        assert losses["loss_intra"].item() < plain["loss_intra"].item()
        assert losses["loss_inter_c2s"].item() != plain["loss_inter_c2s"].item()
        assert losses["loss_inter_c2c"].item() == plain["loss_inter_c2c"].item()


@all_counts
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_center_loss_and_its_centers(counts: list[int], soft: bool, device: torch.device) -> None:
    module = CenterLoss(NUM_CLASSES, FEAT_DIM, weight=0.3, center_lr=0.4).double().to(device)
    centers = np.random.default_rng(0).normal(size=(NUM_CLASSES, FEAT_DIM))
    module.centers.copy_(torch.from_numpy(centers))
    features, targets, y = draw(soft, device)
    loss = module(features.requires_grad_(), targets, None, torch.tensor(counts).double().to(device))["loss_center"]
    y = np.repeat(y, counts, axis=0)
    check(loss, features, lambda f: 0.3 * reference.center_loss(f, y, centers), counts)
    moved = reference.moved_centers(np.repeat(numpy(features), counts, axis=0), y, centers, 0.4)
    np.testing.assert_allclose(numpy(module.centers), moved, rtol=1e-9, atol=1e-12)


# What holds for all


def call(module: Regularizer, classifier: nn.Module, batch: Any, weights: Tensor | None) -> tuple[dict, list]:
    features = batch[0].detach().requires_grad_()
    losses = module(features, batch[1], classifier, weights)
    inputs = [features, *classifier.parameters(), *module.parameters()]
    total = torch.stack(list(losses.values())).sum()
    return losses, list(torch.autograd.grad(total, inputs, allow_unused=True))


@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_ones_change_no_bit(case: str, soft: bool) -> None:
    module, classifier = build(case, "cpu")
    twin = copy.deepcopy(module)
    batch = draw_batch("cpu", 0, soft)
    plain, plain_gradients = step(module, classifier, *batch)
    weighted, gradients = call(twin, classifier, batch, torch.ones(8))
    assert all(torch.equal(plain[key], weighted[key]) for key in plain)
    for a, b in zip(plain_gradients, gradients, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert_same_state(state_of(module), state_of(twin))


@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_nothing_of_an_ignored_sample_gets_through(case: str, soft: bool, device: torch.device) -> None:
    """Features that are no numbers and a label that is no class: losses, gradients and state are those without it."""
    weights = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0], device=device)
    results = []
    for junk in (False, True):
        module, classifier = build(case, device)
        features, targets = draw_batch(device, 0, soft)
        if junk:
            features[1], features[4], features[7] = torch.nan, torch.inf, 1e30
            targets[1] = torch.nan if soft else 255
            targets[4] = 7 if soft else -1
        losses, gradients = call(module, classifier, (features, targets), weights)
        results.append((list(losses.values()), [g for g in gradients if g is not None], state_of(module)))
    (losses, gradients, state), (junk_losses, junk_gradients, junk_state) = results
    for a, b in zip([*losses, *gradients], [*junk_losses, *junk_gradients], strict=True):
        assert torch.equal(a, b)
    assert_same_state(state, junk_state)
    assert not gradients[0][weights == 0].any()


@all_cases
def test_a_batch_that_does_not_count_moves_nothing(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    for seed in range(2):
        module(*draw_batch(device, seed), classifier)
    before = state_of(module)
    losses, gradients = call(module, classifier, draw_batch(device, 2), torch.zeros(8, device=device))
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert gradients[0] is None or not gradients[0].any()
    for key, loss in losses.items():
        assert key in ("loss_aux", "loss_between") or loss.item() == 0
    if not isinstance(module, SAR):  # its anchors depend on no sample
        assert_same_state(before, state_of(module))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 10**6), st.booleans(), st.floats(0.01, 100))
def test_only_ratios_count(case: str, seed: int, soft: bool, factor: float) -> None:
    module, classifier = build(case, "cpu", torch.float64)
    classifier.double()
    features, targets = draw_batch("cpu", seed, soft)
    weights = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    twin = copy.deepcopy(module)
    batch = (features.double(), targets.double() if soft else targets)
    one, _ = call(module, classifier, batch, weights)
    other, _ = call(twin, classifier, batch, factor * weights)
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
@pytest.mark.parametrize(
    ("weights", "remedy"),
    [
        (torch.ones(7), r"give \[8\], one for each sample"),
        (torch.ones(8, 1), r"give \[8\], one for each sample"),
        (torch.ones(8).long(), r"convert them by \.float\(\)"),
        (-torch.ones(8), "finite and at least 0"),
        (torch.full((8,), torch.nan), "finite and at least 0"),
        (torch.full((8,), torch.inf), "finite and at least 0"),
    ],
)
def test_wrong_weights(name: str, weights: Tensor, remedy: str) -> None:
    module = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM)
    before = state_of(module)
    with pytest.raises(ValueError, match=remedy) as caught:
        module(*draw_batch("cpu"), nn.Linear(FEAT_DIM, NUM_CLASSES), weights)
    assert "\n" not in str(caught.value)
    assert_same_state(before, state_of(module))
