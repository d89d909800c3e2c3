"""The smoothing factors of MiSLAS: end points, order and known values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.losses import LabelAwareSmoothing, label_aware_smoothing, smoothing_factors

from . import loss_references as ref

SHAPES = ["concave", "linear", "convex", "exponential"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("power", [0.3, 2.0, 3.0])
def test_factors_against_the_formula(shape: str, power: float) -> None:
    counts = [500, 200, 100, 30, 5, 5]
    expected = ref.smoothing(counts, shape, 0.35, 0.05, power)
    factors = smoothing_factors(counts, 0.35, 0.05, shape, power)  # type: ignore[arg-type]
    assert factors.tolist() == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(1, 1000), min_size=2, max_size=8).filter(lambda n: len(set(n)) > 1),
    shape=st.sampled_from(SHAPES),
)
def test_factors_run_from_tail_to_head_with_the_counts(counts: list[int], shape: str) -> None:
    factors = smoothing_factors(counts, 0.4, 0.1, shape)  # type: ignore[arg-type]
    assert factors[counts.index(max(counts))].item() == pytest.approx(0.4)
    assert factors[counts.index(min(counts))].item() == pytest.approx(0.1)
    by_count = factors[torch.tensor(counts).argsort(stable=True)]
    assert bool((by_count.diff() >= -1e-12).all())


def test_concave_lies_above_linear_above_convex() -> None:
    counts = [101, 76, 51, 26, 1]
    concave, linear, convex = (smoothing_factors(counts, shape=s)[1:-1] for s in ("concave", "linear", "convex"))
    assert bool((concave > linear).all())
    assert bool((linear > convex).all())


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_counts_are_all_head(shape: str) -> None:
    assert smoothing_factors([50, 50, 50], shape=shape).tolist() == pytest.approx([0.4] * 3)  # type: ignore[arg-type]


def test_equals_torch_label_smoothing_where_all_classes_share_one_eps() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 4
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3)
    torch.testing.assert_close(
        label_aware_smoothing(logits, labels, torch.full((4,), 0.3)), expected, rtol=1e-6, atol=0
    )


def test_default_is_the_published_setting() -> None:
    counts = [500, 100, 5]
    assert LabelAwareSmoothing(counts).smoothing.tolist() == pytest.approx(ref.smoothing(counts, "concave", 0.4, 0.1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smooth_head": 0.1, "smooth_tail": 0.4}, "tail <= head"),
        ({"smooth_head": 1.1}, "head <= 1"),
        ({"smooth_tail": -0.1}, "0 <= tail"),
        ({"shape": "round"}, "choose one of concave, linear, convex, exponential"),
        ({"shape": "exponential", "power": 0.0}, "power"),
    ],
)
def test_refuses_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelAwareSmoothing([5, 3], **arguments)
