"""FixedAnchors against the loop of ``reference.py``."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sar_cls import FixedAnchors
from sar_cls.anchors import class_anchors

from . import reference
from .batches import draw_batch


@pytest.mark.parametrize(
    ("kind", "num_classes", "feat_dim", "num_samples"),
    [("normal", 5, 3, 2), ("orthogonal", 3, 4, 1), ("simplex", 4, 3, 8), ("tight_frame", 5, 2, 3), ("normal", 2, 1, 1)],
)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_value_and_gradient(
    kind: str, num_classes: int, feat_dim: int, num_samples: int, soft: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    module = FixedAnchors(num_classes, feat_dim, kind=kind, weight=0.3, seed=2).double().to(device)
    features, targets, weights = draw_batch((num_classes, feat_dim, num_samples), soft, device)
    features.requires_grad_()
    losses = module(features, targets, None)
    assert list(losses) == ["loss_anchor"]
    (gradient,) = torch.autograd.grad(losses["loss_anchor"], features)

    anchors = module.class_anchors.cpu().numpy()

    def expected(f: np.ndarray) -> float:
        return 0.3 * reference.anchor_loss(f, weights, anchors, [True] * num_classes)

    base = features.detach().cpu().numpy()
    assert losses["loss_anchor"].item() == pytest.approx(expected(base), rel=1e-9)
    np.testing.assert_allclose(gradient.cpu().numpy(), reference.numeric_gradient(expected, base), rtol=1e-6, atol=1e-8)


def test_anchors_are_those_of_the_seed_and_stay(device: torch.device) -> None:
    module = FixedAnchors(4, 5, kind="orthogonal", seed=3).to(device)
    expected = class_anchors("orthogonal", 4, 5, seed=3).to(device)
    for _ in range(3):
        module(torch.randn(2, 5, device=device), torch.tensor([0, 3], device=device))
    assert torch.equal(module.class_anchors, expected)
    assert not list(module.parameters())
    assert list(module.state_dict()) == ["class_anchors"]


def test_default_weight_is_the_papers() -> None:
    assert FixedAnchors(3, 4).weight == 0.1


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"weight": math.nan}, "finite number of at least 0"),
        ({"weight": -0.1}, "finite number of at least 0"),
        ({"kind": "gauss"}, "choose one of"),
        ({"kind": "orthogonal"}, "nearest choice is 'tight_frame'"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_wrong_constructor_argument(arguments: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        FixedAnchors(5, 3, **arguments)
