"""The classifier by nearest prototypes, and the embedding in front of it, against loops over their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.regularizers.nearest_prototypes import NearestPrototypes, PrototypeEmbedding


def layer_norm(row: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    mean = sum(row) / len(row)
    variance = sum((value - mean) ** 2 for value in row) / len(row)
    return np.array([(v - mean) / math.sqrt(variance + eps) * w + b for v, w, b in zip(row, weight, bias, strict=True)])


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first)) / math.sqrt(sum(b * b for b in second))


def drawn(in_features: int, out_features: int, per_class: int, seed: int = 0) -> NearestPrototypes:
    """With a layer norm that is not that of the start, in float64."""
    torch.manual_seed(seed)
    made = NearestPrototypes(in_features, out_features, per_class).double()
    with torch.no_grad():
        made.norm.weight.uniform_(-2, 2)
        made.norm.bias.normal_()
        made.prototypes.div_(made.prototypes.norm(dim=2, keepdim=True))  # of length one in float64 too
    return made


@pytest.mark.parametrize(("d", "c", "m"), [(4, 3, 2), (1, 2, 1), (5, 1, 3), (3, 6, 4)])
def test_scores_are_those_of_the_nearest_prototype_of_each_class(d: int, c: int, m: int, device: torch.device) -> None:
    made = drawn(d, c, m)
    features = torch.randn(7, d, dtype=torch.float64)
    weight, bias = made.norm.weight.detach().numpy(), made.norm.bias.detach().numpy()
    prototypes = made.prototypes.numpy()
    expected = [
        layer_norm(
            np.array([max(cosine(x, prototypes[k, j]) for j in range(m)) for k in range(c)]),
            weight,
            bias,
            made.norm.eps,
        )
        for x in features.numpy()
    ]
    for mode in (True, False):
        found = made.train(mode).to(device)(features.to(device))
        np.testing.assert_allclose(found.detach().cpu().numpy(), expected, rtol=1e-8, atol=1e-8)


def test_maps_are_scored_pixel_by_pixel(device: torch.device) -> None:
    made = drawn(4, 3, 2).to(device)
    maps = torch.randn(2, 4, 3, 5, dtype=torch.float64, device=device)
    found = made(maps)
    assert found.shape == (2, 3, 3, 5)
    torch.testing.assert_close(found[1, :, 2, 4], made(maps[1, :, 2, 4].unsqueeze(0)).squeeze(0))


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_length_of_features_does_not_matter(scale: float, seed: int) -> None:
    made = drawn(4, 3, 2, seed)
    features = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(made(features * scale), made(features), rtol=1e-7, atol=1e-9)


def test_it_starts_from_prototypes_of_length_one_which_do_not_learn(device: torch.device) -> None:
    made = NearestPrototypes(6, 4, 3).to(device)
    torch.testing.assert_close(made.prototypes.norm(dim=2), torch.ones(4, 3, device=device))
    assert [name for name, _ in made.named_parameters()] == ["norm.weight", "norm.bias"]
    assert "prototypes" in made.state_dict()
    features = torch.randn(2, 6, device=device, requires_grad=True)
    made(features).square().sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_prototypes_may_move_before_the_backward_pass(device: torch.device) -> None:
    made = NearestPrototypes(6, 4, 3).to(device)
    features = torch.randn(2, 6, device=device, requires_grad=True)
    (expected,) = torch.autograd.grad(made(features).square().sum(), features)
    loss = made(features).square().sum()
    made.prototypes.zero_()
    (found,) = torch.autograd.grad(loss, features)
    assert torch.equal(found, expected)


def test_float32_under_autocast_and_for_half_precision(device: torch.device) -> None:
    made = NearestPrototypes(6, 4, 3).to(device)
    features = torch.randn(2, 6, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        found = made(features)
    assert torch.equal(found, made(features))
    assert made.to(torch.bfloat16)(features.bfloat16()).dtype == torch.float32


def test_features_of_length_one_need_no_further_division(device: torch.device) -> None:
    made = drawn(4, 3, 2).to(device)
    features = torch.randn(5, 4, dtype=torch.float64, device=device)
    unit = features / features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(made.similarities_of_unit(unit), made.similarities(features))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 3, 2), "in_features is 0"),
        ((4, 0, 2), "out_features is 0"),
        ((4, 3, 0), "per_class is 0"),
        ((4, 3, 2.0), "per_class is 2.0"),
        ((4, 3, "2"), "per_class is '2'"),
        ((4, 3, True), "per_class is True"),
    ],
)
def test_what_is_no_number_of_prototypes_is_refused(numbers: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"NearestPrototypes: {message}: give a whole number of at least 1"):
        NearestPrototypes(*numbers)


def test_embedding_follows_the_published_layers() -> None:
    torch.manual_seed(0)
    made = PrototypeEmbedding(3).double()
    with torch.no_grad():
        made.norm.weight.uniform_(-2, 2)
        made.norm.bias.normal_()
    maps = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    found = made(maps).detach().numpy()
    first, _, second = made.projection
    values = [(layer.weight.detach().numpy()[:, :, 0, 0], layer.bias.detach().numpy()) for layer in (first, second)]
    for n, y, x in np.ndindex(2, 2, 4):
        pixel = maps[n, :, y, x].numpy()
        hidden = np.maximum(values[0][0] @ pixel + values[0][1], 0)
        out = values[1][0] @ hidden + values[1][1]
        out = out / math.sqrt(sum(out**2))
        expected = layer_norm(out, made.norm.weight.detach().numpy(), made.norm.bias.detach().numpy(), made.norm.eps)
        np.testing.assert_allclose(found[n, :, y, x], expected, rtol=1e-9)


def test_embedding_normalizes_in_float32_under_autocast(device: torch.device) -> None:
    made = PrototypeEmbedding(3).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert made(torch.randn(2, 3, 2, 4, device=device)).dtype == torch.float32
