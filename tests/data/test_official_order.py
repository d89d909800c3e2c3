"""The order of the official CIFAR archives: what is shipped of it, and how data sets are put into it and named."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from sar_cls.data import load_image_set, longtail_indices, official_order
from sar_cls.data.official_order import official_arrangement, official_positions, unresolved_positions
from sar_cls.official_images import (
    ARCHIVE,
    BY_NAME,
    MAY_DIFFER,
    RECOVERED,
    SUBSETS,
    Subset,
    is_published_subset,
)

PER_CLASS = {"train": 500, "test": 100}


@pytest.mark.parametrize("split", ["train", "test"])
def test_it_is_a_permutation(split):
    positions = official_positions(split)
    assert np.array_equal(np.sort(positions), np.arange(100 * PER_CLASS[split]))


def test_the_first_labels_are_those_that_everybody_knows():
    """cattle, dinosaur, apple, boy, aquarium fish ...: as any look into the official archive begins."""
    assert (official_positions("train")[:5] // 500).tolist() == [19, 29, 0, 11, 1]
    assert (official_positions("test")[:5] // 100).tolist() == [49, 33, 72, 51, 71]


def test_what_is_not_known_lies_in_three_classes():
    unresolved = {split: unresolved_positions(split) for split in PER_CLASS}
    assert {split: len(places) for split, places in unresolved.items()} == {"train": 95, "test": 16}
    for split, places in unresolved.items():
        classes = official_positions(split)[places] // PER_CLASS[split]
        assert set(classes.tolist()) == {4, 74, 75}  # beaver, shrew, skunk
        # Filled in by name: within a class the names of these places ascend.
        files = official_positions(split)[places]
        assert all((np.diff(files[classes == c]) > 0).all() for c in (4, 74, 75))


@pytest.mark.parametrize("factor", list(MAY_DIFFER))
def test_how_many_images_can_differ(factor):
    """Of m unresolved images of a class the subset holds k; of these, at worst, all that the other m - k can replace differ."""
    labels = official_positions("train") // 500
    kept, unresolved = set(longtail_indices(labels, factor).tolist()), unresolved_positions("train").tolist()
    total, inside = Counter(labels[unresolved].tolist()), Counter()
    for place in unresolved:
        inside[int(labels[place])] += place in kept
    assert sum(min(inside[c], total[c] - inside[c]) for c in total) == MAY_DIFFER[factor]


def test_files_with_the_original_names_are_arranged(monkeypatch):
    """In whatever order and with whatever extension they come."""
    names = sorted((f"c{c:02}", f"f-{i % 7}_{i}") for c in range(100) for i in range(100))
    text = "\n".join(f"{folder}/{file}" for folder, file in names)
    monkeypatch.setitem(official_order.NAMES_SHA256, "test", hashlib.sha256(text.encode()).hexdigest())
    shuffled = np.random.default_rng(0).permutation(len(names))
    files = ["/".join(names[index]) + (".png", ".jpg", ".JPEG")[index % 3] for index in shuffled]
    positions = official_arrangement("test", files)
    assert positions is not None
    expected = ["/".join(names[index]) for index in official_positions("test")]
    assert [files[index].rsplit(".", 1)[0] for index in positions] == expected
    assert official_arrangement("test", files[1:]) is None
    assert official_arrangement("test", [*files[1:], "c00/other.png"]) is None
    assert official_arrangement("train", files) is None


def test_what_counts_as_published():
    known = next(key for key, subset in SUBSETS.items() if subset == Subset(100, RECOVERED))
    by_name = next(key for key, subset in SUBSETS.items() if subset == Subset(100, BY_NAME))
    assert is_published_subset(known, 100.0, RECOVERED)
    assert not is_published_subset(known, 50.0, RECOVERED)
    assert not is_published_subset("0" * 64, 100.0, RECOVERED)  # another seed or profile
    assert is_published_subset("0" * 64, 20.0, RECOVERED)  # no figure to tell by
    assert is_published_subset("0" * 64, 100.0, ARCHIVE)
    assert not is_published_subset(by_name, 100.0, BY_NAME)


@pytest.mark.real_data
@pytest.mark.slow
def test_real_images(real_data, tmp_path):
    """The known subsets, from whatever copy is at hand: a folder with the original names, or pickles in recovered order."""
    train = load_image_set("cifar100", "train", real_data, cache_dir=tmp_path)
    if train.order != RECOVERED:
        pytest.skip(f"the copy at hand is in another order ({train.order})")
    for fingerprint, subset in SUBSETS.items():
        if subset.order == RECOVERED:
            drawn = train.subset(longtail_indices(train.labels, subset.imbalance)).downscaled(32 // subset.side)
            assert drawn.fingerprint == fingerprint
    test = load_image_set("cifar100", "test", real_data, cache_dir=tmp_path)
    assert test.order == RECOVERED
