"""Samplers: frequencies, the class-aware rule, determinism."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.data import (
    SAMPLERS,
    ClassAware,
    ClassBalanced,
    InstanceBalanced,
    ProgressivelyBalanced,
    SquareRoot,
)
from sar_cls.errors import InputError

COUNTS = [50, 20, 7, 3, 1]


def labels_of(counts: list[int], seed: int = 0) -> torch.Tensor:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def build(name: str, labels: torch.Tensor):
    return SAMPLERS[name](labels, **({"total_epochs": 10} if name == "progressively_balanced" else {}))


@pytest.mark.parametrize("name", SAMPLERS)
def test_indices__depend_on_seed_and_epoch_alone(name):
    labels = labels_of(COUNTS)
    before = torch.get_rng_state()
    sampler = build(name, labels)
    first = sampler.indices(3, 11)
    sampler.indices(4, 11)
    assert first.dtype == torch.int64
    assert first.device.type == "cpu"
    assert len(first) == len(sampler)
    assert torch.equal(build(name, labels).indices(3, 11), first)
    assert not torch.equal(sampler.indices(4, 11), first)
    assert not torch.equal(sampler.indices(3, 12), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("number", [1, 5, 81, 1000])
def test_indices__as_many_as_asked_for_and_in_range(name, number):
    indices = build(name, labels_of(COUNTS)).indices(0, 0, number)
    assert indices.shape == (number,)
    assert 0 <= int(indices.min()) <= int(indices.max()) < sum(COUNTS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_labels__tensor_array_or_list(name, device):
    labels = labels_of(COUNTS)
    expected = build(name, labels).indices(0, 0)
    for given_labels in (labels.to(device), labels.numpy(), labels.tolist(), labels.int()):
        assert torch.equal(build(name, given_labels).indices(0, 0), expected)


def test_instance_balanced__rounds_of_all_images():
    sampler = InstanceBalanced(labels_of(COUNTS))
    assert len(sampler) == 81
    indices = sampler.indices(0, 0, 200)
    first, second = indices[:81], indices[81:162]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(81))
    assert not torch.equal(first, second)
    assert len(set(indices[162:].tolist())) == 38


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=6),
    k=st.integers(1, 5),
    number=st.integers(1, 150),
    seed=st.integers(0, 99),
)
def test_class_aware__follows_its_rule(counts, k, number, seed):
    labels = labels_of(counts, seed)
    indices = ClassAware(labels, samples_per_class=k).indices(0, seed, number)
    drawn = labels[indices].tolist()
    blocks = [drawn[i : i + k] for i in range(0, number, k)]
    assert all(len(set(block)) == 1 for block in blocks)  # k samples of one class at a time
    order = [block[0] for block in blocks]
    for i in range(0, len(order), len(counts)):  # every class once in each cycle
        cycle = order[i : i + len(counts)]
        assert len(set(cycle)) == len(cycle)
    for c, count in enumerate(counts):  # within a class, every image once before any comes again
        own = indices[labels[indices] == c].tolist()
        for i in range(0, len(own), count):
            part = own[i : i + count]
            assert len(set(part)) == len(part)


def test_class_aware__cycles_are_reshuffled():
    labels = labels_of([30] * 6)
    sampler = ClassAware(labels, samples_per_class=5)
    classes = labels[sampler.indices(0, 0)].view(-1, 6, 5)[:, :, 0]
    assert len({tuple(cycle) for cycle in classes.tolist()}) == 6
    own = sampler.indices(0, 0, 2 * 180)
    own = own[labels[own] == 2]
    assert sorted(own[:30].tolist()) == sorted(own[30:].tolist())
    assert own[:30].tolist() != own[30:].tolist()


def test_class_aware__published_length():
    counts = [500] + [5] * 99
    sampler = ClassAware(labels_of(counts))
    assert sampler.samples_per_class == 4
    assert len(sampler) == 50_000
    assert math.ceil(len(sampler) / 128) == 391
    labels = labels_of(counts)
    assert torch.bincount(labels[sampler.indices(0, 0)]).tolist() == [500] * 100


def expected_shares(name: str, epoch: int) -> np.ndarray:
    counts = np.array(COUNTS, float)
    instance, uniform = counts / counts.sum(), np.full(len(counts), 1 / len(counts))
    if name == "class_balanced":
        return uniform
    if name == "square_root":
        return np.sqrt(counts) / np.sqrt(counts).sum()
    return (1 - epoch / 10) * instance + epoch / 10 * uniform


@pytest.mark.parametrize(
    ("name", "epoch"),
    [("class_balanced", 0), ("square_root", 0), *(("progressively_balanced", epoch) for epoch in (0, 3, 9, 10))],
)
def test_frequencies__of_classes_and_of_images_within(name, epoch):
    from scipy.stats import chisquare

    labels = labels_of(COUNTS)
    n = 40_000
    indices = build(name, labels).indices(epoch, 5, n)
    shares = expected_shares(name, epoch)
    assert chisquare(torch.bincount(labels[indices]).numpy(), shares * n).pvalue > 1e-4
    per_image = (shares / np.array(COUNTS))[labels.numpy()]
    assert chisquare(torch.bincount(indices, minlength=81).numpy(), per_image * n).pvalue > 1e-4


def test_progressively_balanced__probabilities():
    sampler = ProgressivelyBalanced(labels_of(COUNTS), total_epochs=10)
    for epoch in range(11):
        np.testing.assert_allclose(sampler.class_probabilities(epoch), expected_shares("progressively_balanced", epoch))
    np.testing.assert_allclose(sampler.class_probabilities(25), [0.2] * 5)


@pytest.mark.parametrize("sampler", [ClassBalanced, SquareRoot, InstanceBalanced])
def test_bad_labels(sampler):
    with pytest.raises(InputError, match="class 1 has no images"):
        sampler(torch.tensor([0, 2, 2]))
    with pytest.raises(InputError, match="needs a list of labels"):
        sampler(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="0 or more"):
        sampler(torch.tensor([0, -1]))


def test_bad_arguments():
    with pytest.raises(ValueError, match="samples_per_class"):
        ClassAware(labels_of(COUNTS), samples_per_class=0)
    with pytest.raises(ValueError, match="total_epochs"):
        ProgressivelyBalanced(labels_of(COUNTS), total_epochs=0)
