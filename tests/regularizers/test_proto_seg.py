"""ProtoSeg against loops over its formulas: the losses, their gradient, the assignment and how the prototypes move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sar_cls.regularizers.nearest_prototypes import NearestPrototypes
from sar_cls.regularizers.proto_seg import ProtoSeg, equal_shares
from sar_cls.regularizers.targets import Targets

from . import reference

C, D, M = 3, 4, 2
Array = np.ndarray


def unit(row: Array) -> Array:
    return row / max(math.sqrt(sum(v * v for v in row)), 1e-12)


def shares_by_loop(similarities: Array, labels: Array, weights: Array, epsilon: float, iterations: int) -> Array:
    """The published steps, class by class, on the samples that count: rows to equal sums, then columns to sum 1."""
    plan = np.exp(similarities / epsilon)
    for c in sorted(set(labels.tolist())):
        mine = [i for i in range(len(labels)) if labels[i] == c and weights[i] > 0]
        if not mine:
            continue
        part = np.array([[plan[i, m] for i in mine] for m in range(plan.shape[1])])
        part = part / sum(part[m, k] * weights[i] for m in range(len(part)) for k, i in enumerate(mine))
        for _ in range(iterations):
            for m in range(len(part)):
                part[m] = part[m] / sum(part[m, k] * weights[i] for k, i in enumerate(mine)) / len(part)
            for k in range(len(mine)):
                part[:, k] = part[:, k] / part[:, k].sum()
        for k, i in enumerate(mine):
            plan[i] = part[:, k]
    return plan


def losses_by_loop(
    features: Array, labels: Array, weights: Array, prototypes: Array, chosen: Array, temperature: float
) -> tuple[float, float]:
    """Weighted means of both terms; ``chosen`` is the prototype of each sample, through which no gradient goes."""
    contrast = distance = 0.0
    for x, y, w, m in zip(features, labels, weights, chosen, strict=True):
        if w == 0:
            continue
        x = unit(x)
        to_all = np.array([[float(x @ p) / temperature for p in row] for row in prototypes])
        contrast += w * (math.log(sum(math.exp(v) for v in to_all.flatten())) - to_all[y, m])
        distance += w * (1 - float(x @ prototypes[y, m])) ** 2
    total = max(sum(weights), 1e-300)
    return contrast / total, distance / total


def moved_by_loop(
    features: Array, labels: Array, weights: Array, made: NearestPrototypes, chosen: Array, momentum: float
) -> Array:
    prototypes = made.prototypes.cpu().numpy()
    scale, shift = (p.detach().cpu().numpy() for p in (made.norm.weight, made.norm.bias))
    sums, new = np.zeros_like(prototypes), prototypes.copy()
    counts = np.zeros(prototypes.shape[:2])
    for x, y, w, m in zip(features, labels, weights, chosen, strict=True):
        best = np.array([max(float(unit(x) @ p) for p in row) for row in prototypes])
        scores = (best - best.mean()) / math.sqrt(best.var() + made.norm.eps) * scale + shift
        if w > 0 and int(np.argmax(scores)) == y:
            sums[y, m] += w * unit(x)
            counts[y, m] += w
    for c, m in np.ndindex(counts.shape):
        if counts[c, m] > 0:
            new[c, m] = momentum * prototypes[c, m] + (1 - momentum) * unit(sums[c, m])
        new[c, m] = unit(new[c, m])
    return new


def build(device: torch.device, seed: int = 0, **settings: Any) -> tuple[ProtoSeg, NearestPrototypes]:
    torch.manual_seed(seed)
    nearest = NearestPrototypes(D, C, M).double()
    with torch.no_grad():
        nearest.norm.weight.uniform_(0.5, 2)
    chosen = {"contrast_weight": 0.7, "distance_weight": 0.3, "momentum": 0.6, "assignment": "likeliest", **settings}
    return ProtoSeg(C, D, **chosen).double().to(device), nearest.to(device)


def likeliest(features: Array, labels: Array, weights: Array, nearest: NearestPrototypes, module: ProtoSeg) -> Array:
    prototypes = nearest.prototypes.cpu().numpy()
    own = np.array([[float(unit(x) @ p) for p in prototypes[y]] for x, y in zip(features, labels, strict=True)])
    return shares_by_loop(own, labels, weights, module.epsilon, module.iterations).argmax(axis=1)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("num_samples", [1, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_gradient_and_prototypes_over_steps(
    temperature: float, num_samples: int, weighted: bool, device: torch.device
) -> None:
    module, nearest = build(device, temperature=temperature)
    for _ in range(3):
        features = torch.randn(num_samples, D, dtype=torch.float64).to(device).requires_grad_()
        labels = torch.randint(C - 1 if num_samples < 9 else C, (num_samples,))
        # Powers of two: a class with one sample has equal shares of all its prototypes, of which a rounding would choose.
        weights = 2.0 ** torch.randint(-2, 3, (num_samples,)).double() * (torch.arange(num_samples) != 2)
        given_weights = weights.to(device) if weighted else None
        base, y = features.detach().cpu().numpy(), labels.numpy()
        w = weights.numpy() if weighted else np.ones(num_samples)
        chosen = likeliest(base, y, w, nearest, module)
        prototypes = nearest.prototypes.cpu().numpy().copy()
        moved = moved_by_loop(base, y, w, nearest, chosen, 0.6)

        losses = module(features, labels.to(device), nearest, given_weights)
        (gradient,) = torch.autograd.grad(losses["loss_ppc"] + losses["loss_ppd"], features)

        def expected(f: Array, y=y, w=w, prototypes=prototypes, chosen=chosen) -> tuple[float, float]:
            contrast, distance = losses_by_loop(f, y, w, prototypes, chosen, temperature)
            return 0.7 * contrast, 0.3 * distance

        assert [losses[name].item() for name in ("loss_ppc", "loss_ppd")] == pytest.approx(expected(base), rel=1e-9)
        numeric = reference.numeric_gradient(lambda f, expected=expected: sum(expected(f)), base)
        np.testing.assert_allclose(gradient.cpu().numpy(), numeric, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(nearest.prototypes.cpu().numpy(), moved, rtol=1e-9, atol=1e-12)


def test_soft_labels_are_samples_of_each_class(device: torch.device) -> None:
    module, nearest = build(device)
    features = torch.randn(6, D, dtype=torch.float64)
    soft = torch.randn(6, C, dtype=torch.float64).softmax(dim=1)
    weights = torch.rand(6, dtype=torch.float64)
    repeated, labels = features.repeat_interleave(C, dim=0).numpy(), np.tile(np.arange(C), 6)
    w = (soft * weights.unsqueeze(1)).flatten().numpy()
    chosen = likeliest(repeated, labels, w, nearest, module)
    contrast, distance = losses_by_loop(repeated, labels, w, nearest.prototypes.cpu().numpy(), chosen, 1.0)
    moved = moved_by_loop(repeated, labels, w, nearest, chosen, 0.6)
    losses = module(features.to(device), soft.to(device), nearest, weights.to(device))
    found = [losses["loss_ppc"].item(), losses["loss_ppd"].item()]
    assert found == pytest.approx([0.7 * contrast, 0.3 * distance], rel=1e-9)
    np.testing.assert_allclose(nearest.prototypes.cpu().numpy(), moved, rtol=1e-9)


def test_one_hot_labels_are_hard_ones(device: torch.device) -> None:
    features, labels = torch.randn(8, D, dtype=torch.float64, device=device), torch.arange(8, device=device) % C
    first, second = build(device), build(device)
    hard = first[0](features, labels, first[1])
    soft = second[0](features, nn.functional.one_hot(labels, C).double(), second[1])
    for name in hard:
        torch.testing.assert_close(soft[name], hard[name])
    torch.testing.assert_close(second[1].prototypes, first[1].prototypes)


@pytest.mark.parametrize("at", ["same", "finer"])
def test_ignored_pixels_are_not_there(at: str, device: torch.device) -> None:
    module, nearest = build(device)
    other, twin = build(device)
    maps = torch.randn(2, D, 3, 4, dtype=torch.float64, device=device)
    labels = torch.randint(C, (2, 3, 4), device=device)
    labels[0, 1:] = 255
    maps[0, :, 2, 3] = float("nan")
    kept = labels != 255
    expected = other(maps.movedim(1, -1)[kept], labels[kept], twin)
    masks = labels if at == "same" else labels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    found = module(maps, masks, nearest)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    torch.testing.assert_close(nearest.prototypes, twin.prototypes)


def test_without_a_pixel_that_counts_nothing_happens(device: torch.device) -> None:
    module, nearest = build(device)
    before = nearest.prototypes.clone()
    maps = torch.randn(1, D, 2, 2, dtype=torch.float64, device=device, requires_grad=True)
    losses = module(maps, torch.full((1, 2, 2), 255, device=device), nearest)
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert maps.grad is not None
    assert not maps.grad.any()
    torch.testing.assert_close(nearest.prototypes, before)


def test_prototypes_move_by_what_is_classified_right_and_in_training_alone(device: torch.device) -> None:
    module, nearest = build(device)
    prototypes = nearest.prototypes.clone()
    features, labels = prototypes[:, 0] * 5 + 0.01, torch.arange(C, device=device)
    module.eval()(features, labels, nearest)
    assert torch.equal(nearest.prototypes, prototypes)
    module.train()(features, labels.roll(1), nearest)  # every one of them is another class's
    torch.testing.assert_close(nearest.prototypes, prototypes)
    module(features, labels, nearest)
    assert not torch.allclose(nearest.prototypes[:, 0], prototypes[:, 0], atol=1e-4)


def test_the_prototype_to_move_is_drawn_with_the_plan_for_logits(device: torch.device) -> None:
    """Half of a class is at its first prototype, half at its second, so that a row of the plan is (1, 0) or (0, 1): the far one is
    drawn ``exp(0) / exp(1)`` times as often as the near one. (With the plan for probabilities it would be never.)"""
    module, nearest = build(device, assignment="gumbel", momentum=0.0)
    directions = torch.eye(D, dtype=torch.float64, device=device)
    with torch.no_grad():
        nearest.norm.weight.fill_(1)
        nearest.prototypes.copy_(torch.stack([directions[:2], directions[2:], -directions[2:]]))
    features, number = directions[:2], 20_000
    module(features.repeat(number, 1), torch.zeros(2 * number, dtype=torch.int64, device=device), nearest)
    # With momentum 0 a prototype is now the sum, brought to length one, of those that drew it.
    first, second = nearest.prototypes[0].cpu()
    assert (first[1] / first[0]).item() == pytest.approx(math.exp(-1), rel=0.05)
    assert (second[0] / second[1]).item() == pytest.approx(math.exp(-1), rel=0.05)
    assert torch.equal(nearest.prototypes[1], directions[2:])


@given(seed=st.integers(0, 999), epsilon=st.sampled_from([0.05, 0.5]), num_samples=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_shares_are_the_published_steps(seed: int, epsilon: float, num_samples: int) -> None:
    generator = np.random.default_rng(seed)
    similarities = generator.uniform(-1, 1, (num_samples, 4))
    labels = generator.integers(0, 3, num_samples)
    weights = generator.uniform(0.1, 2, num_samples) * (generator.random(num_samples) > 0.2)
    targets = Targets(3, torch.float64, labels=torch.from_numpy(labels), sample_weights=torch.from_numpy(weights))
    found = equal_shares(torch.from_numpy(similarities), targets, epsilon, 3).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    counts = weights > 0
    expected = shares_by_loop(similarities, labels, weights, epsilon, 3)
    np.testing.assert_allclose(found[counts], expected[counts], rtol=1e-7, atol=1e-12)


def test_many_steps_bring_equal_shares() -> None:
    labels = torch.arange(40) % 2
    similarities = torch.rand(40, 5, dtype=torch.float64)
    plan = equal_shares(similarities, Targets(2, torch.float64, labels=labels), 0.2, 200)
    for c in range(2):
        torch.testing.assert_close(plan[labels == c].sum(dim=0), torch.full((5,), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("epsilon", [0.05, 0.025])
def test_shares_in_float32_are_those_of_float64(epsilon: float) -> None:
    """From one end of the cosines to the other; of the class with a single sample too."""
    generator = torch.Generator().manual_seed(0)
    similarities = torch.rand(60, 4, generator=generator, dtype=torch.float64) * 2 - 1
    similarities[:2] = torch.tensor([[1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, 1.0]])
    labels = torch.arange(60) % 3
    labels[5] = 3
    expected = shares_by_loop(similarities.numpy(), labels.numpy(), np.ones(60), epsilon, 3)
    plan = equal_shares(similarities.float(), Targets(4, torch.float32, labels=labels), epsilon, 3)
    np.testing.assert_allclose(plan.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_defaults_are_the_published_ones() -> None:
    module = ProtoSeg(C, D)
    assert (module.contrast_weight, module.distance_weight, module.momentum) == (0.01, 0.001, 0.999)
    assert (module.epsilon, module.iterations, module.temperature, module.assignment) == (0.05, 3, 1.0, "gumbel")
    assert NearestPrototypes(D, C).per_class == 10
    assert not list(module.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "temperature is 0: give a number above 0"),
        ({"epsilon": 0.0}, "epsilon is 0: give a number above 0"),
        ({"epsilon": math.nan}, "epsilon is nan: give a finite number"),
        ({"momentum": 1.0}, "at 1 nothing would ever move"),
        ({"iterations": 0}, "a whole number of at least 1"),
        ({"contrast_weight": -1}, "at least 0"),
        ({"assignment": "hard"}, "choose one of gumbel, likeliest"),
    ],
)
def test_wrong_constructor_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProtoSeg(C, D, **arguments)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (None, "is a NoneType: give NearestPrototypes"),
        (nn.Linear(D, C), "is a Linear: give NearestPrototypes"),
        (NearestPrototypes(D, C + 1), "has 4 classes and 4 features: give one of 3 and 4"),
        (
            NearestPrototypes(D, C).bfloat16(),
            "in torch.bfloat16, in which an average .* keep the classifier in float32",
        ),
        (NearestPrototypes(D, C).double(), "are in torch.float64 and the losses in torch.float32: .* by .float"),
    ],
)
def test_wrong_classifier(classifier: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProtoSeg(C, D)(torch.randn(2, D), torch.tensor([0, 1]), classifier)


@pytest.mark.parametrize("assignment", ["gumbel", "likeliest"])
def test_a_step_is_one_graph(assignment: str) -> None:
    torch.manual_seed(0)
    module, nearest = ProtoSeg(C, D, assignment=assignment), NearestPrototypes(D, C, M)

    def step(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = nearest(features)
        losses = module(features, labels, nearest)
        return nn.functional.cross_entropy(scores, labels) + sum(losses.values())

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    features, labels = torch.randn(6, D, requires_grad=True), torch.arange(6) % C
    start = nearest.prototypes.clone()
    (found,) = torch.autograd.grad(compiled(features, labels), features)
    moved = nearest.prototypes.clone()
    nearest.prototypes.copy_(start)
    (expected,) = torch.autograd.grad(step(features, labels), features)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(moved, start)
    if assignment == "likeliest":
        torch.testing.assert_close(moved, nearest.prototypes)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_step_can_be_captured_and_draws_anew_at_each_replay(precision: torch.dtype) -> None:
    device = torch.device("cuda")
    torch.manual_seed(0)
    module, nearest = ProtoSeg(C, D, momentum=0.0).to(device), NearestPrototypes(D, C, M).to(device)
    features = torch.randn(64, D, device=device, dtype=precision, requires_grad=True)
    labels = torch.arange(64, device=device) % C
    start = nearest.prototypes.clone()

    def step() -> torch.Tensor:
        loss = torch.stack(list(module(features, labels, nearest).values())).sum()
        (features.grad,) = torch.autograd.grad(loss, features)
        return loss.detach()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    nearest.prototypes.copy_(start)
    expected = step()
    nearest.prototypes.copy_(start)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    moved = []
    for _ in range(2):
        nearest.prototypes.copy_(start)
        graph.replay()
        torch.testing.assert_close(found, expected)
        moved.append(nearest.prototypes.clone())
    assert not torch.equal(moved[0], start)
    assert not torch.equal(moved[0], moved[1])


def test_a_nan_does_not_stay_in_the_prototypes(device: torch.device) -> None:
    module, nearest = build(device)
    features, labels = nearest.prototypes[:, 0] * 5 + 0.01, torch.arange(C, device=device)
    bad = features.clone()
    bad[0, 1] = math.nan
    module(bad, labels, nearest)
    assert nearest.prototypes.isfinite().all()
    before = nearest.prototypes.clone()
    assert all(loss.isfinite() for loss in module(features, labels, nearest).values())
    assert not torch.equal(nearest.prototypes, before)
