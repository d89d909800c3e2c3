"""A set of images with masks: what it refuses, counts and hashes."""

from __future__ import annotations

import pytest
import torch

from sar_cls.data import VOID, DeviceLoader, EndlessShuffle, MaskAugmentation, MaskedImageSet
from sar_cls.errors import InputError


def masked_set(n: int = 3, size: tuple[int, int] = (6, 8), classes: int = 4, seed: int = 0) -> MaskedImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, *size, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(classes, (n, *size), generator=generator).to(torch.uint8)
    labels[:, 0] = VOID
    return MaskedImageSet(images, labels, tuple(f"class {c}" for c in range(classes)), "synthetic", "train")


def test_counts_are_pixels_without_void() -> None:
    found = masked_set()
    expected = [int((found.labels == c).sum()) for c in range(4)]
    assert found.counts == expected
    assert sum(expected) == 3 * 5 * 8


def test_fingerprint_sees_a_single_pixel_of_a_mask() -> None:
    first, second = masked_set(), masked_set()
    assert first.fingerprint == second.fingerprint
    second.labels[2, 3, 4] = (second.labels[2, 3, 4] + 1) % 4
    other = MaskedImageSet(second.images, second.labels, second.classes, second.name, second.split)
    assert other.fingerprint != first.fingerprint


def test_subset_keeps_order_and_files() -> None:
    named = MaskedImageSet(**{**vars_of(masked_set()), "files": ("a", "b", "c")})
    part = named.subset([2, 0])
    assert part.files == ("c", "a")
    assert torch.equal(part.labels, named.labels[[2, 0]])
    with pytest.raises(InputError, match=r"\[0, 3\)"):
        named.subset([3])


def vars_of(found: MaskedImageSet) -> dict:
    return {name: getattr(found, name) for name in ("images", "labels", "classes", "name", "split")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(3, 6, 8, 3)}, "images must be uint8"),
        ({"labels": torch.zeros(3, 6, 8, dtype=torch.int64)}, "masks must be uint8"),
        ({"labels": torch.zeros(3, 6, 7, dtype=torch.uint8)}, r"masks must be uint8 \[3, 6, 8\]"),
        ({"labels": torch.full((3, 6, 8), 9, dtype=torch.uint8)}, "holds label 9, but there are 4 classes"),
        ({"labels": torch.full((3, 6, 8), VOID, dtype=torch.uint8)}, "every pixel is void"),
        ({"classes": ("one",)}, "from 2 to 255"),
        ({"files": ("a",)}, "1 file names for 3 images"),
    ],
)
def test_bad_sets_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MaskedImageSet(**{**vars_of(masked_set()), **change})


def test_loader_yields_the_masks_of_its_images() -> None:
    found = masked_set(n=5)
    draw = MaskAugmentation((4, 4), scale=(1.0, 1.0)).draw
    loader = DeviceLoader(found, 2, EndlessShuffle(found.labels), draw=draw, seed=7, batches_per_epoch=3)
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        batches = list(loader)
        order = EndlessShuffle(found.labels).indices(epoch, 7, 6)
        assert torch.equal(torch.cat([batch["inputs"] for batch in batches]), found.images[order])
        assert torch.equal(torch.cat([batch["targets"] for batch in batches]), found.labels[order])
        assert batches[0]["draws"]["photometric"].shape == (2, 5)


def test_endless_order_does_not_depend_on_the_interval() -> None:
    sampler = EndlessShuffle(range(7))
    by_three = torch.cat([sampler.indices(epoch, 5, 3) for epoch in range(10)])
    by_ten = torch.cat([sampler.indices(epoch, 5, 10) for epoch in range(3)])
    assert torch.equal(by_three, by_ten)
    for start in range(0, 28, 7):  # every image once a round
        assert sorted(by_ten[start : start + 7].tolist()) == list(range(7))
    assert not torch.equal(by_ten[:7], by_ten[7:14])
    assert not torch.equal(by_ten[:7], sampler.indices(0, 6, 7))
