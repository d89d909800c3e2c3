"""SupCon against loops written from Eq. 2, and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls import SupCon

from . import reference
from .reference import Array


def directions(features: Array) -> Array:
    return np.stack([feature / np.linalg.norm(feature) for feature in features])


def eq_2(features: Array, labels: Array, temperature: float) -> float:
    """L_out for hard labels, divided by the number of samples."""
    z, number = directions(features), len(features)
    loss = 0.0
    for i in range(number):
        positives = [p for p in range(number) if p != i and labels[p] == labels[i]]
        total = sum(math.exp(z[i] @ z[a] / temperature) for a in range(number) if a != i)
        for p in positives:
            loss -= math.log(math.exp(z[i] @ z[p] / temperature) / total) / len(positives)
    return loss / number


def general(features: Array, label_weights: Array, temperature: float, sample_weights: Array) -> float:
    """The same for weights of labels and samples."""
    z, number = directions(features), len(features)
    share = sample_weights / sample_weights[sample_weights > 0].mean()
    loss = 0.0
    for i in range(number):
        total = sum(share[a] * math.exp(z[i] @ z[a] / temperature) for a in range(number) if a != i)
        agreement = of_sample = 0.0
        for p in range(number):
            if p != i and share[p] > 0:
                pair = share[p] * sum(label_weights[i, c] * label_weights[p, c] for c in range(label_weights.shape[1]))
                agreement += pair
                of_sample -= pair * (z[i] @ z[p] / temperature - math.log(total))
        loss += share[i] * of_sample / max(agreement, 1)
    return loss / share.sum()


def drawn(number: int, feat_dim: int, num_classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(number, feat_dim, dtype=torch.float64, generator=generator)
    return features, torch.randint(num_classes, (number,), generator=generator)


def bare(num_classes: int, feat_dim: int, temperature: float = 0.2, weight: float = 1.0) -> SupCon:
    return SupCon(num_classes, feat_dim, contrast_weight=weight, temperature=temperature, projection=None).double()


@pytest.mark.parametrize(("number", "feat_dim", "num_classes"), [(3, 3, 2), (9, 4, 3), (7, 2, 12)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_hard_labels_are_eq_2(
    number: int, feat_dim: int, num_classes: int, temperature: float, device: torch.device
) -> None:
    features, labels = drawn(number, feat_dim, num_classes)
    labels[0] = labels[1]  # one pair at least
    features = features.to(device).requires_grad_()
    loss = bare(num_classes, feat_dim, temperature, weight=0.3).to(device)(features, labels.to(device))["loss_supcon"]
    base = features.detach().cpu().numpy()
    assert loss.item() > 0
    assert loss.item() == pytest.approx(0.3 * eq_2(base, labels.numpy(), temperature), rel=1e-9)
    (gradient,) = torch.autograd.grad(loss, features)
    expected = reference.numeric_gradient(lambda f: 0.3 * eq_2(f, labels.numpy(), temperature), base)
    np.testing.assert_allclose(gradient.cpu().numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("concentration", [0.1, 3.0])
def test_soft_labels_and_sample_weights(weighted: bool, concentration: float, device: torch.device) -> None:
    features, _ = drawn(8, 3, 4)
    generator = np.random.default_rng(1)
    soft = generator.dirichlet([concentration] * 4, 8)
    weights = generator.uniform(0.2, 3, 8) * (np.arange(8) != 5) if weighted else np.ones(8)
    given_weights = torch.from_numpy(weights).to(device) if weighted else None
    features = features.to(device).requires_grad_()
    loss = bare(4, 3).to(device)(features, torch.from_numpy(soft).to(device), None, given_weights)["loss_supcon"]
    base = features.detach().cpu().numpy()
    assert loss.item() == pytest.approx(general(base, soft, 0.2, weights), rel=1e-9)
    (gradient,) = torch.autograd.grad(loss, features)
    expected = reference.numeric_gradient(lambda f: general(f, soft, 0.2, weights), base)
    np.testing.assert_allclose(gradient.cpu().numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_projection_comes_first() -> None:
    features, labels = drawn(6, 5, 2)
    module = SupCon(2, 5, temperature=0.5, projection=3).double()
    first, _, second = module.projection
    hidden = np.maximum(features.numpy() @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    projected = hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    assert (hidden.shape, projected.shape) == ((6, 5), (6, 3))
    assert module(features, labels)["loss_supcon"].item() == pytest.approx(eq_2(projected, labels.numpy(), 0.5))
    assert SupCon(2, 5).projection[2].out_features == 128


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(0, 1000), st.booleans())
def test_neither_order_nor_names_of_classes_nor_lengths_of_features_matter(number: int, seed: int, soft: bool) -> None:
    features, labels = drawn(number, 3, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    targets = labels
    if soft:
        targets = torch.rand(number, 4, dtype=torch.float64, generator=generator)
        targets = targets / targets.sum(dim=1, keepdim=True)
    module = bare(4, 3)
    expected = module(features, targets)["loss_supcon"]
    order, names = torch.randperm(number, generator=generator), torch.randperm(4, generator=generator)
    renamed = targets[:, names] if soft else names[targets]
    lengths = torch.rand(number, 1, dtype=torch.float64, generator=generator) + 0.1
    for same in (
        module(features[order], targets[order]),
        module(features, renamed),
        module(features * lengths, targets),
        module(features, targets, None, torch.full((number,), 0.25, dtype=torch.float64)),
    ):
        torch.testing.assert_close(same["loss_supcon"], expected)


def test_one_hot_rows_are_hard_labels() -> None:
    features, labels = drawn(9, 3, 4)
    module = bare(4, 3)
    soft = torch.nn.functional.one_hot(labels, 4).double()
    torch.testing.assert_close(module(features, soft), module(features, labels))


def test_a_class_with_one_member_pulls_nothing_and_pushes() -> None:
    features, labels = drawn(5, 3, 2)
    module = bare(9, 3)
    alone = module(features.requires_grad_(), torch.arange(5))["loss_supcon"]
    assert alone.item() == 0
    assert not torch.autograd.grad(alone, features)[0].any()
    labels = torch.tensor([0, 0, 0, 0, 8])
    loss = module(features, labels)["loss_supcon"]
    assert loss.item() == pytest.approx(eq_2(features.detach().numpy(), labels.numpy(), 0.2))
    without = module(features[:4], labels[:4])["loss_supcon"]
    assert loss.item() > 4 / 5 * without.item()  # the others keep away from it


def test_two_views_give_each_image_another_of_its_class() -> None:
    """As many classes as images: the loss is SimCLR's (Eq. 1 of the paper) on pairs of views."""
    views, _ = drawn(8, 3, 4)
    loss = bare(4, 3)(views, torch.arange(4).repeat(2))["loss_supcon"].item()
    z = directions(views.numpy())
    expected = 0.0
    for i in range(8):
        total = sum(math.exp(z[i] @ z[a] / 0.2) for a in range(8) if a != i)
        expected -= math.log(math.exp(z[i] @ z[(i + 4) % 8] / 0.2) / total) / 8
    assert loss == pytest.approx(expected)


def test_a_sample_of_weight_0_might_as_well_not_be_there() -> None:
    features, labels = drawn(6, 3, 2)
    features[4] = math.nan
    weights = torch.tensor([1.0, 1, 1, 1, 0, 1], dtype=torch.float64)
    kept = weights > 0
    module = bare(2, 3)
    found = module(features, labels, None, weights)["loss_supcon"]
    torch.testing.assert_close(found, module(features[kept], labels[kept])["loss_supcon"])
    assert module(features, labels, None, torch.zeros(6, dtype=torch.float64))["loss_supcon"].item() == 0


def test_features_of_length_0_have_finite_gradients(device: torch.device) -> None:
    features = torch.zeros(4, 3, device=device, requires_grad=True)
    module = SupCon(2, 3, projection=None).to(device)
    loss = module(features, torch.tensor([0, 0, 1, 1], device=device))["loss_supcon"]
    assert loss.item() == pytest.approx(math.log(3))
    assert torch.isfinite(torch.autograd.grad(loss, features)[0]).all()


def test_beside_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="pytorch-metric-learning is not installed")
    features, _ = drawn(12, 5, 3)
    labels = torch.arange(3).repeat(4)  # it leaves samples without another of their class out of the mean
    theirs = losses.SupConLoss(temperature=0.1)(features, labels).item()
    assert bare(3, 5, temperature=0.1)(features, labels)["loss_supcon"].item() == pytest.approx(theirs)


@pytest.mark.parametrize(
    "arguments", [{"contrast_weight": -1.0}, {"temperature": 0.0}, {"temperature": math.inf}, {"projection": 0}]
)
def test_refuses_what_makes_no_sense(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SupCon(3, 2, **arguments)  # type: ignore[arg-type]
