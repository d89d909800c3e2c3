"""CosFace and ArcFace beside an independent library, and what a margin does."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.losses import ArcFace, CosFace
from sar_cls.models import CosineLinear

COUNTS = [9] * 7
MARGINS: dict[str, type[CosFace]] = {"CosFace": CosFace, "ArcFace": ArcFace}
both = pytest.mark.parametrize("name", ["CosFace", "ArcFace"])


@both
def test_beside_pytorch_metric_learning(name: str) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="pytorch-metric-learning is not installed")
    torch.manual_seed(0)
    features, labels = torch.randn(12, 5, dtype=torch.float64), torch.randint(7, (12,))
    margin = 0.3
    # Its ArcFace takes degrees, its CosFace the cosine.
    theirs = getattr(losses, f"{name}Loss")(
        7, 5, margin=math.degrees(margin) if name == "ArcFace" else margin, scale=16
    )
    theirs.W.data = theirs.W.data.double()
    classifier = CosineLinear(5, 7).double()
    with torch.no_grad():
        classifier.weight.copy_(theirs.W.T)
    ours = MARGINS[name](COUNTS, margin=margin, scale=16.0)(classifier(features), labels)
    torch.testing.assert_close(ours, theirs(features, labels), rtol=1e-6, atol=0)


@both
def test_no_margin_is_cross_entropy_of_the_scaled_cosines(name: str, device: torch.device) -> None:
    torch.manual_seed(0)
    cosines = (2 * torch.rand(8, 7, dtype=torch.float64) - 1).to(device)
    labels = torch.randint(7, (8,)).to(device)
    loss = MARGINS[name](COUNTS, margin=0.0, scale=5.0)
    torch.testing.assert_close(loss(cosines, labels), F.cross_entropy(5 * cosines, labels))
    scaled = MARGINS[name](COUNTS, margin=0.4, scale=5.0, scaled_logits=True)
    torch.testing.assert_close(
        scaled(5 * cosines, labels), MARGINS[name](COUNTS, margin=0.4, scale=5.0)(cosines, labels)
    )


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    low=st.floats(0, 0.4),
    more=st.floats(0.01, 0.5),
    name=st.sampled_from(["CosFace", "ArcFace"]),
)
def test_a_larger_margin_costs_more(seed: int, low: float, more: float, name: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    cosines = 2 * torch.rand(5, 7, generator=generator, dtype=torch.float64) - 1
    labels = torch.randint(7, (5,), generator=generator)
    smaller, larger = (MARGINS[name](COUNTS, margin=m, scale=8.0)(cosines, labels) for m in (low, low + more))
    assert larger > smaller


def test_arcface_falls_with_the_angle_all_the_way() -> None:
    angles = torch.linspace(0, math.pi, 181, dtype=torch.float64)
    cosines = torch.zeros(181, 7, dtype=torch.float64)
    cosines[:, 0] = angles.cos()
    loss = MARGINS["ArcFace"](COUNTS, margin=0.5, scale=4.0)
    costs = torch.stack([loss(row[None], torch.zeros(1, dtype=torch.long)) for row in cosines])
    assert bool((costs.diff() > 0).all())


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_the_ends_of_the_cosine(name: str, dtype: torch.dtype, device: torch.device) -> None:
    cosines = torch.tensor([[1.0, -1.0] + [0.0] * 5, [-1.0, 1.0] + [0.0] * 5], dtype=dtype, device=device)
    cosines.requires_grad_()
    MARGINS[name](COUNTS)(cosines, torch.tensor([0, 0], device=device)).backward()
    assert cosines.grad is not None
    assert bool(torch.isfinite(cosines.grad).all())


@both
@pytest.mark.parametrize(
    ("arguments", "named"), [({"margin": -0.1}, "margin"), ({"margin": 2.0}, "margin"), ({"scale": 0.0}, "scale")]
)
def test_refuses_values_out_of_range(name: str, arguments: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MARGINS[name](COUNTS, **arguments)
