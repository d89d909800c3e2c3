"""INC against loops written from its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sar_cls import INC

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


def mean_nearest_angle(means: Array) -> float:
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
def test_values_and_gradients(
    num_classes: int, feat_dim: int, num_samples: int, soft: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    module = INC(num_classes, feat_dim, within_weight=0.3, between_weight=0.7).double().to(device)
    features, targets, weights = draw_batch((num_classes, feat_dim, num_samples), soft, device)
    features.requires_grad_()
    losses = module(features, targets, None)
    base, means = features.detach().cpu().numpy(), module.means.detach().cpu().numpy()
    assert losses["loss_within"].item() == pytest.approx(0.3 * within(base, weights, means), rel=1e-9)
    assert losses["loss_between"].item() == pytest.approx(-0.7 * mean_nearest_angle(means), rel=1e-9)

    by_feature, by_mean = torch.autograd.grad(sum(losses.values()), [features, module.means])
    np.testing.assert_allclose(
        by_feature.cpu().numpy(),
        reference.numeric_gradient(lambda f: 0.3 * within(f, weights, means), base),
        rtol=1e-6,
        atol=1e-8,
    )
    np.testing.assert_allclose(
        by_mean.cpu().numpy(),
        reference.numeric_gradient(lambda m: 0.3 * within(base, weights, m) - 0.7 * mean_nearest_angle(m), means),
        rtol=1e-6,
        atol=1e-8,
    )


def test_every_class_of_the_batch_weighs_the_same(device: torch.device) -> None:
    module = INC(3, 2, within_weight=1.0).to(device)
    with torch.no_grad():
        module.means.zero_()
    features = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 2.0]], device=device)
    labels = torch.tensor([0] * 9 + [1], device=device)
    assert module(features, labels)["loss_within"].item() == pytest.approx((1 + 4) / 3)


def test_a_feature_on_its_mean_and_two_equal_means_have_finite_gradients(device: torch.device) -> None:
    module = INC(3, 2).to(device)
    with torch.no_grad():
        module.means[1] = module.means[0]
    features = module.means.detach()[:1].clone().requires_grad_()
    losses = module(features, torch.tensor([0], device=device))
    gradients = torch.autograd.grad(sum(losses.values()), [features, module.means])
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("argument", ["within_weight", "between_weight"])
def test_refuses_negative_weights(argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        INC(3, 2, **{argument: -1.0})
