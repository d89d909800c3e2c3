"""INC against loops written from its formulas: the losses, their gradient by the features, and how the means move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls import INC
from sar_cls.regularizers.inc import mean_nearest_angle

from . import reference
from .batches import draw_batch
from .reference import Array


def within(features: Array, weights: Array, means: Array) -> float:
    num_samples, num_classes = weights.shape
    total = 0.0
    for c in range(num_classes):
        size = sum(weights[i, c] for i in range(num_samples))
        if size > 0:
            total += sum(weights[i, c] * ((features[i] - means[c]) ** 2).sum() for i in range(num_samples)) / size
    return total / num_classes


def nearest_angle(means: Array) -> float:
    centred = means - means.mean(axis=0)
    angles = []
    for a in range(len(means)):
        cosines = [
            centred[a] @ centred[b] / np.linalg.norm(centred[a]) / np.linalg.norm(centred[b])
            for b in range(len(means))
            if b != a
        ]
        angles.append(math.acos(max(cosines)))
    return sum(angles) / len(angles)


@pytest.mark.parametrize(("num_classes", "feat_dim", "num_samples"), [(5, 3, 2), (3, 4, 1), (4, 2, 12)])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_values_gradient_and_means_over_steps(
    num_classes: int, feat_dim: int, num_samples: int, soft: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    module = INC(num_classes, feat_dim, within_weight=0.3, between_weight=0.7, means_lr=0.2).double().to(device)
    means = module.means.cpu().numpy().copy()
    for _ in range(3):
        features, targets, weights = draw_batch((num_classes, feat_dim, num_samples), soft, device)
        features.requires_grad_()
        losses = module(features, targets, None)
        (by_feature,) = torch.autograd.grad(sum(losses.values()), features)
        base = features.detach().cpu().numpy()

        def of_features(f: Array, w: Array = weights, m: Array = means) -> float:
            return 0.3 * within(f, w, m)

        def of_means(m: Array, w: Array = weights, f: Array = base) -> float:
            return 0.3 * within(f, w, m) - 0.7 * nearest_angle(m)

        assert losses["loss_within"].item() == pytest.approx(of_features(base), rel=1e-9)
        assert losses["loss_between"].item() == pytest.approx(-0.7 * nearest_angle(means), rel=1e-9)
        gradient = reference.numeric_gradient(of_features, base)
        np.testing.assert_allclose(by_feature.cpu().numpy(), gradient, rtol=1e-6, atol=1e-8)
        means = means - 0.2 * reference.numeric_gradient(of_means, means) / 0.3
        np.testing.assert_allclose(module.means.cpu().numpy(), means, rtol=1e-6, atol=1e-8)
        means = module.means.cpu().numpy().copy()  # differences of a quotient are not to add up


@settings(deadline=None)
@given(st.integers(2, 7), st.integers(1, 5), st.integers(0, 1000))
def test_the_gradient_of_the_angles_is_autograds(num_classes: int, feat_dim: int, seed: int) -> None:
    means = torch.randn(
        num_classes, feat_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()
    centred = means - means.mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(centred.unsqueeze(0), centred.unsqueeze(1), dim=2)
    others = cosines.masked_fill(torch.eye(num_classes, dtype=torch.bool), -2.0).max(dim=1).values
    expected = others.clamp(-0.99999, 0.99999).acos().mean()
    (gradient,) = torch.autograd.grad(expected, means)
    angle, by_means = mean_nearest_angle(means.detach())
    torch.testing.assert_close(angle, expected.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(by_means, gradient, rtol=1e-6, atol=1e-7)


def test_the_means_come_to_their_classes_and_keep_apart(device: torch.device) -> None:
    torch.manual_seed(0)
    features = torch.randn(60, 4, device=device) + 3
    labels = torch.arange(60, device=device) % 3
    centers = torch.stack([features[labels == c].mean(dim=0) for c in range(3)])
    gathering, both = INC(3, 4, between_weight=0.0).to(device), INC(3, 4, between_weight=0.01).to(device)
    for _ in range(200):
        gathering(features, labels)
        both(features, labels)
    torch.testing.assert_close(gathering.means, centers)
    assert (both.means - centers).norm(dim=1).max() < 3
    assert mean_nearest_angle(both.means)[0] > mean_nearest_angle(centers)[0]


def test_in_evaluation_and_without_a_learning_rate_the_means_stay(device: torch.device) -> None:
    features, labels = torch.randn(4, 2, device=device), torch.tensor([0, 1, 1, 2], device=device)
    for module in (INC(3, 2).to(device).eval(), INC(3, 2, means_lr=0.0).to(device)):
        before = module.means.clone()
        module(features, labels)
        assert torch.equal(module.means, before)


def test_every_class_of_the_batch_weighs_the_same(device: torch.device) -> None:
    module = INC(3, 2, within_weight=1.0).to(device)
    module.means.zero_()
    features = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 2.0]], device=device)
    labels = torch.tensor([0] * 9 + [1], device=device)
    assert module(features, labels)["loss_within"].item() == pytest.approx((1 + 4) / 3)


def test_a_feature_on_its_mean_and_two_equal_means_stay_finite(device: torch.device) -> None:
    module = INC(3, 2).to(device)
    module.means[1] = module.means[0]
    features = module.means[:1].clone().requires_grad_()
    losses = module(features, torch.tensor([0], device=device))
    (gradient,) = torch.autograd.grad(sum(losses.values()), features)
    assert gradient.isfinite().all()
    assert module.means.isfinite().all()


def test_a_nan_does_not_stay_in_the_means(device: torch.device) -> None:
    module = INC(3, 2).to(device)
    features, labels = torch.randn(3, 2, device=device), torch.tensor([0, 1, 1], device=device)
    features[0, 1] = math.nan
    assert module(features, labels)["loss_within"].isnan()
    assert module.means.isfinite().all()
    assert module(torch.randn(3, 2, device=device), labels)["loss_within"].isfinite()


def test_defaults_are_those_of_the_published_program() -> None:
    module = INC(3, 4)
    assert (module.within_weight, module.between_weight, module.means_lr) == (0.01, 0.1, 0.5)
    assert not list(module.parameters())  # the model's optimizer would move the means by its own rules


@pytest.mark.parametrize("argument", ["within_weight", "between_weight", "means_lr"])
def test_refuses_negative_weights(argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        INC(3, 2, **{argument: -1.0})
