"""What image sets share, with masks or without: checks, sizes, fingerprints and moves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sar_cls.data import ImageSet, MaskedImageSet
from sar_cls.errors import InputError


def build(masked: bool, n: int = 4, size: tuple[int, int] = (3, 5)) -> ImageSet | MaskedImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, *size, 3), generator=generator, dtype=torch.uint8)
    names = ("ant", "bee")
    if masked:
        labels = torch.randint(2, (n, *size), generator=generator).to(torch.uint8)
        return MaskedImageSet(images, labels, names, "tiny", "train")
    return ImageSet(images, torch.arange(n) % 2, names, "tiny", "train")


both = pytest.mark.parametrize("masked", [False, True], ids=["labels", "masks"])


@both
def test_fingerprint_is_the_hash_of_head_images_and_labels(masked: bool) -> None:
    found = build(masked)
    head = [[4, 3, 5, 3], ["ant", "bee"]] + (["masks"] if masked else [])
    labels = found.labels.numpy().astype("u1" if masked else "<i8")
    content = json.dumps(head).encode() + found.images.numpy().tobytes() + labels.tobytes()
    assert found.fingerprint == hashlib.sha256(content).hexdigest()


@both
def test_fingerprint_is_of_the_content_whatever_its_strides(masked: bool) -> None:
    found = build(masked)
    turned = found.images.transpose(1, 2).contiguous().transpose(1, 2)
    labels = torch.stack([found.labels, found.labels], dim=-1)[..., 0]
    assert not turned.is_contiguous()
    assert not labels.is_contiguous()
    assert replace(found, images=turned, labels=labels).fingerprint == found.fingerprint


@both
def test_size_and_words(masked: bool) -> None:
    found = build(masked)
    assert (len(found), found.num_classes, found.image_size) == (4, 2, (3, 5))
    kind = "MaskedImageSet" if masked else "ImageSet"
    assert repr(found) == f"{kind}(tiny/train, 4 images 3x5, 2 classes)"
    assert found.device == torch.device("cpu")
    assert found.to("cpu") is found


@pytest.mark.cuda
@both
def test_moved_it_is_of_its_kind_and_is_not_hashed_again(masked: bool) -> None:
    found = build(masked)
    fingerprint = found.fingerprint
    moved = found.to("cuda")
    assert type(moved) is type(found)
    assert (moved.images.device.type, moved.labels.device.type) == ("cuda", "cuda")
    assert moved.__dict__["fingerprint"] == fingerprint


@both
@pytest.mark.parametrize("indices", [[3, 0, 3], np.array([1, 2]), torch.tensor([2], dtype=torch.int32)], ids=repr)
def test_subset_takes_images_and_labels_in_order(masked: bool, indices: Any) -> None:
    found = build(masked)
    part = found.subset(indices, **({} if masked else {"allow_empty_classes": True}))
    wanted = [int(index) for index in indices]
    assert torch.equal(part.images, found.images[wanted])
    assert torch.equal(part.labels, found.labels[wanted])
    assert type(part) is type(found)


@both
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([4], r"\[0, 4\)"),
        ([-1], r"\[0, 4\)"),
        ([0.5], "list of integers"),
        ([[0]], "list of integers"),
        ([True], "list"),
    ],
)
def test_indices_that_are_none(masked: bool, indices: list, message: str) -> None:
    with pytest.raises(InputError, match=f"subset of tiny: indices must .*{message}"):
        build(masked).subset(indices)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(4, 3, 5, 3)}, r"images must be uint8 \[n, H, W, 3\], got torch.float32 \[4, 3, 5, 3\]"),
        ({"images": torch.zeros(4, 3, 5, 1, dtype=torch.uint8)}, r"images must be uint8 \[n, H, W, 3\]"),
        ({"images": torch.zeros(3, 5, 3, dtype=torch.uint8)}, r"images must be uint8 \[n, H, W, 3\]"),
        ({"labels": torch.zeros(4)}, r"must be (int64 \[4\]|uint8 \[4, 3, 5\]), got torch.float32 \[4\]"),
    ],
)
def test_tensors_of_another_form(masked: bool, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=rf"^tiny \(train\): .*{message}"):
        replace(build(masked), **change)


@both
def test_no_images(masked: bool) -> None:
    found = build(masked)
    with pytest.raises(InputError, match="holds no images"):
        replace(found, images=found.images[:0], labels=found.labels[:0])


@both
def test_labels_elsewhere(masked: bool) -> None:
    found = build(masked)
    with pytest.raises(InputError, match=r"images are on cpu, (labels|masks) on meta; use to\(device\)"):
        replace(found, labels=found.labels.to("meta"))
