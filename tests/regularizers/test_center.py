"""CenterLoss against the loops of ``reference.py``: the loss, its gradient, and how the centres move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sar_cls import CenterLoss

from . import reference
from .batches import draw_batch


@pytest.mark.parametrize(("num_classes", "feat_dim", "num_samples"), [(5, 3, 2), (3, 4, 1), (2, 1, 7), (4, 3, 12)])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_value_gradient_and_centers_over_steps(
    num_classes: int, feat_dim: int, num_samples: int, soft: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    module = CenterLoss(num_classes, feat_dim, weight=0.3, center_lr=0.4).double().to(device)
    expected_centers = np.zeros((num_classes, feat_dim))
    for _ in range(3):
        features, targets, weights = draw_batch((num_classes, feat_dim, num_samples), soft, device)
        features.requires_grad_()
        loss = module(features, targets, None)["loss_center"]
        (gradient,) = torch.autograd.grad(loss, features)

        def expected(f: np.ndarray, weights=weights, class_centers=expected_centers) -> float:
            return 0.3 * reference.center_loss(f, weights, class_centers)

        base = features.detach().cpu().numpy()
        assert loss.item() == pytest.approx(expected(base), rel=1e-9)
        np.testing.assert_allclose(
            gradient.cpu().numpy(), reference.numeric_gradient(expected, base), rtol=1e-6, atol=1e-8
        )
        expected_centers = reference.moved_centers(base, weights, expected_centers, 0.4)
        np.testing.assert_allclose(module.centers.cpu().numpy(), expected_centers, rtol=1e-9, atol=1e-12)


def test_centers_of_absent_classes_stay(device: torch.device) -> None:
    module = CenterLoss(3, 2).to(device)
    module.centers.copy_(torch.randn(3, 2))
    before = module.centers.clone()
    module(torch.randn(4, 2, device=device), torch.tensor([0, 0, 2, 2], device=device))
    assert torch.equal(module.centers[1], before[1])
    assert not torch.equal(module.centers[0], before[0])


def test_centers_converge_to_the_class_means(device: torch.device) -> None:
    module = CenterLoss(2, 3).to(device)
    features = torch.randn(10, 3, device=device)
    labels = torch.arange(10, device=device) % 2
    for _ in range(100):
        module(features, labels)
    means = torch.stack([features[labels == c].mean(dim=0) for c in range(2)])
    torch.testing.assert_close(module.centers, means)


def test_defaults_are_the_papers() -> None:
    module = CenterLoss(3, 4)
    assert (module.weight, module.center_lr) == (0.003, 0.5)
    assert not list(module.parameters())


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"weight": math.nan}, "finite number of at least 0"),
        ({"weight": -0.1}, "finite number of at least 0"),
        ({"center_lr": math.inf}, "finite number of at least 0"),
        ({"center_lr": 1.5}, "from 0 to 1"),
    ],
)
def test_wrong_constructor_argument(arguments: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        CenterLoss(5, 3, **arguments)


def test_a_nan_does_not_stay_in_the_centers(device: torch.device) -> None:
    torch.manual_seed(0)
    module = CenterLoss(3, 2).to(device)
    labels = torch.tensor([0, 1, 1], device=device)
    module(torch.randn(3, 2, device=device), labels)
    before = module.centers.clone()
    features = torch.randn(3, 2, device=device)
    features[0, 1] = math.nan
    assert module(features, labels)["loss_center"].isnan()
    assert torch.equal(module.centers[0, 1], before[0, 1])
    assert not torch.equal(module.centers[1], before[1])
    assert module(torch.randn(3, 2, device=device), labels)["loss_center"].isfinite()
