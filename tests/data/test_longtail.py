"""Long-tailed counts and subsets against the published rule; validation splits."""

# ruff: noqa: NPY002 - that numpy's global generator is left alone is what is tested

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.data import load_image_set, longtail_counts, longtail_indices, stratified_split
from sar_cls.errors import InputError


@pytest.mark.parametrize(("factor", "total"), [(100, 10_847), (50, 12_608), (10, 19_573), (1, 50_000)])
def test_counts__published_totals(factor, total):
    counts = longtail_counts(500, 100, factor)
    assert sum(counts) == total
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (500, 500 // factor)


def test_counts__cifar10_lt():
    assert longtail_counts(5000, 10, 100) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_counts__step():
    assert longtail_counts(500, 4, 100, "step") == [500, 500, 5, 5]
    assert longtail_counts(500, 5, 10, "step") == [500, 500, 50, 50, 50]


@pytest.mark.parametrize("profile", ["exponential", "step"])
def test_indices__published_rule(profile):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 60))
    counts = longtail_counts(60, 10, 12, profile)
    state = np.random.get_state()
    try:  # the rule as published, on numpy's global generator
        np.random.seed(0)
        expected = []
        for c in range(10):
            positions = np.where(labels == c)[0]
            np.random.shuffle(positions)
            expected.extend(positions[: counts[c]])
    finally:
        np.random.set_state(state)
    ours = longtail_indices(labels, 12, profile=profile)
    assert ours.dtype == np.int64
    assert ours.tolist() == expected
    assert longtail_indices(torch.from_numpy(labels), 12, seed=1, profile=profile).tolist() != expected


def test_indices__leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    longtail_indices(np.arange(100) % 5, 4)
    assert np.array_equal(np.random.get_state()[1], before)


def test_indices__pinned():
    indices = longtail_indices(np.repeat(np.arange(100), 500), 100)
    assert len(indices) == 10_847
    assert indices[:5].tolist() == [90, 254, 283, 445, 461]


def test_indices__unequal_classes_start_from_the_smallest():
    labels = np.repeat(np.arange(3), [40, 25, 30])
    for factor in (1, 5, 25):
        kept = labels[longtail_indices(labels, factor)]
        assert np.bincount(kept).tolist() == longtail_counts(25, 3, factor)
    heads = [longtail_indices(labels, factor)[:25].tolist() for factor in (1, 25)]
    assert heads[0] == heads[1]


def test_indices__too_strong_for_classes_that_differ__says_how_to_take_them_as_they_are():
    with pytest.raises(InputError) as caught:
        longtail_indices(np.repeat(np.arange(3), [500, 40, 10]), 100)
    message = str(caught.value)
    assert "the smallest has (10, the largest has 500): --imbalance none" in message
    assert "10 images in the largest class of the tail use 10 at most" in message
    with pytest.raises(InputError) as caught:
        longtail_indices(np.repeat(np.arange(3), 10), 100)
    assert "--imbalance none" not in str(caught.value)


def test_indices__on_digits():
    digits = load_image_set("digits", "train")
    subset = digits.subset(longtail_indices(digits.labels, 20))
    assert subset.counts == longtail_counts(131, 10, 20)


@pytest.mark.parametrize("factor", [0.99, 0, -1, math.nan])
def test_counts__factor_below_one(factor):
    with pytest.raises(InputError, match="1 or more"):
        longtail_counts(500, 100, factor)


@pytest.mark.parametrize("profile", ["exponential", "step"])
@pytest.mark.parametrize("n_max", [1, 49, 131, 500])
def test_counts__largest_possible_factor_is_named(n_max, profile):
    with pytest.raises(InputError, match=r"use [0-9]+ at most") as caught:
        longtail_counts(n_max, 10, 501, profile)
    largest = int(str(caught.value).split("use ")[1].split()[0])
    assert longtail_counts(n_max, 10, largest, profile)[-1] == 1
    with pytest.raises(InputError, match="without images"):
        longtail_counts(n_max, 10, largest + 1, profile)
    with pytest.raises(InputError, match="without images"):
        longtail_counts(n_max, 10, math.inf, profile)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((500, 1, 10), "at least two classes"),
        ((0, 10, 10), "at least one image"),
        ((500, 10, 10, "linear"), "unknown long-tail profile 'linear'"),
    ],
)
def test_counts__bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        longtail_counts(*arguments)


def test_indices__bad_input():
    with pytest.raises(InputError, match="class 1 has no images"):
        longtail_indices([0, 0, 2, 2], 2)
    with pytest.raises(InputError, match="at least two classes"):
        longtail_indices([0, 0], 2)
    with pytest.raises(InputError, match="seed"):
        longtail_indices([0, 1], 1, seed=-1)
    with pytest.raises(InputError, match="list of integers"):
        longtail_indices([0.0, 1.0], 1)  # type: ignore[list-item]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=6).filter(lambda counts: max(counts) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 50),
)
def test_split__shares_and_completeness(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = stratified_split(labels, fraction, seed)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert train.tolist() == sorted(train)
    assert held_out.tolist() == sorted(held_out)
    for c, count in enumerate(counts):
        of_class = int((labels[held_out] == c).sum())
        assert (labels[train] == c).any()
        assert of_class >= (count > 1)
        assert abs(of_class - fraction * count) <= 1


def test_split__depends_on_the_seed_alone():
    labels = torch.arange(200) % 10
    first, again, other = (stratified_split(labels, 0.1, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    assert first[1].dtype == np.int64
    assert len(first[1]) == 20


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, math.nan])
def test_split__fraction_out_of_range(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        stratified_split([0, 0, 1, 1], fraction, 0)


def test_split__bad_input():
    with pytest.raises(InputError, match="no class has two images"):
        stratified_split([0, 1, 2], 0.5, 0)
    with pytest.raises(InputError, match="seed"):
        stratified_split([0, 0, 1], 0.5, -1)
