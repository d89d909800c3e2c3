"""ImageSet: validation, fingerprint, subsets, devices."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sar_cls.data import ImageSet, load_image_set
from sar_cls.errors import InputError


def make_set(n: int = 12, size: tuple[int, int] = (5, 6), **changes) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    fields = {
        "images": torch.randint(256, (n, *size, 3), dtype=torch.uint8, generator=generator),
        "labels": torch.arange(n) % 3,
        "classes": tuple(f"class {c}" for c in range(3)),
        "name": "toy",
        "split": "train",
    }
    return ImageSet(**{**fields, **changes})


def test_properties():
    image_set = make_set(n=11)
    assert len(image_set) == 11
    assert image_set.num_classes == 3
    assert image_set.counts == [4, 4, 3]
    assert image_set.image_size == (5, 6)


def test_fingerprint__is_the_sha256_of_header_images_and_labels():
    image_set = make_set()
    header = json.dumps([[12, 5, 6, 3], ["class 0", "class 1", "class 2"]]).encode()
    labels = np.array([0, 1, 2] * 4, "<i8")
    expected = hashlib.sha256(header + image_set.images.numpy().tobytes() + labels.tobytes()).hexdigest()
    assert image_set.fingerprint == expected


def test_fingerprint__changes_with_everything_it_covers_and_nothing_else():
    base = make_set()
    pixel = base.images.clone()
    pixel[3, 1, 2, 0] ^= 1
    same = make_set(name="other", split="test")
    others = [
        make_set(images=pixel),
        make_set(labels=base.labels.roll(1)),
        make_set(classes=("a", "b", "c")),
        make_set(images=base.images.view(12, 6, 5, 3)),
        base.subset(torch.arange(11, -1, -1)),
    ]
    assert same.fingerprint == base.fingerprint
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


def test_to__keeps_content_and_fingerprint(device):
    image_set = make_set()
    fingerprint = image_set.fingerprint
    moved = image_set.to(device)
    assert moved.device.type == device.type
    assert moved.fingerprint == fingerprint
    assert make_set().to(device).fingerprint == fingerprint  # computed from the moved tensors
    assert torch.equal(moved.images.cpu(), image_set.images)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_downscaled__is_the_rounded_mean_of_square_blocks(factor):
    image_set = make_set(size=(6, 12))
    smaller = image_set.downscaled(factor)
    assert smaller.images.dtype == torch.uint8
    assert smaller.image_size == (6 // factor, 12 // factor)
    for n in range(len(image_set)):
        for y in range(6 // factor):
            for x in range(12 // factor):
                block = image_set.images[n, factor * y : factor * (y + 1), factor * x : factor * (x + 1)].numpy()
                mean = block.astype(np.float64).mean(axis=(0, 1))
                assert smaller.images[n, y, x].tolist() == np.floor(mean + 0.5).astype(int).tolist()


@pytest.mark.parametrize("factor", [4, 0, -2, 1.5, "2"])
def test_downscaled__refuses_what_does_not_divide(factor):
    with pytest.raises(InputError, match="whole number that divides both sides"):
        make_set(size=(6, 12)).downscaled(factor)


def test_of_first_classes__keeps_their_images_in_order():
    image_set = make_set()
    first = image_set.of_first_classes(2)
    assert first.classes == image_set.classes[:2]
    kept = [index for index in range(len(image_set)) if index % 3 < 2]
    assert first.labels.tolist() == [index % 3 for index in kept]
    assert torch.equal(first.images, image_set.images[kept])
    assert image_set.of_first_classes(3).fingerprint == image_set.fingerprint != first.fingerprint


@pytest.mark.parametrize("number", [1, 0, -2, 4, 2.0, "2", True])
def test_of_first_classes__refuses_what_is_no_number_of_classes(number):
    with pytest.raises(InputError, match=f"from 2 to the 3 of .*, not {number!r}"):
        make_set().of_first_classes(number)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_subset__takes_images_in_the_order_given(kind):
    image_set = make_set()
    chosen = [7, 0, 5, 5]
    subset = image_set.subset(kind(chosen), split="val")
    assert (subset.split, subset.classes, len(subset)) == ("val", image_set.classes, 4)
    for row, index in enumerate(chosen):
        assert torch.equal(subset.images[row], image_set.images[index])
        assert subset.labels[row] == index % 3


def test_subset__without_a_class():
    with pytest.raises(InputError, match="'class 1' and 1 more has no images"):
        make_set().subset([0, 3])
    subset = make_set().subset([0, 3], allow_empty_classes=True)
    assert subset.counts == [2, 0, 0]
    assert subset.to("cpu").subset([1], allow_empty_classes=True).counts == [1, 0, 0]


@pytest.mark.parametrize("indices", [[12], [-1], [0.5, 1.0], [[0, 1, 2]], [True] * 12])
def test_subset__bad_indices(indices):
    with pytest.raises(InputError, match="indices must"):
        make_set().subset(indices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(12, 5, 6, 3)}, "images must be uint8"),
        ({"images": torch.zeros(12, 3, 5, 6, dtype=torch.uint8)}, "images must be uint8"),
        ({"images": torch.zeros(12, 5, 3, dtype=torch.uint8)}, "images must be uint8"),
        ({"labels": torch.zeros(12)}, "labels must be int64"),
        ({"labels": torch.zeros(11, dtype=torch.int64)}, r"labels must be int64 \[12\]"),
        ({"labels": torch.arange(12) % 3 + 1}, "labels run from 1 to 3"),
        ({"labels": torch.arange(12) % 3 - 1}, "labels run from -1 to 1"),
        ({"labels": torch.arange(12) % 2}, "class 'class 2' has no images"),
        ({"labels": torch.zeros(12, dtype=torch.int64), "classes": ("only",)}, "at least two"),
        (
            {"images": torch.zeros(0, 5, 6, 3, dtype=torch.uint8), "labels": torch.zeros(0, dtype=torch.int64)},
            "holds no images",
        ),
    ],
)
def test_validation(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make_set(**changes)
    assert "toy" in str(caught.value)


def test_digits__split_scale_and_order():
    from sklearn.datasets import load_digits

    data = load_digits()
    train, test = load_image_set("digits", "train"), load_image_set("digits", "test")
    assert len(train) + len(test) == 1797
    assert train.classes == tuple("0123456789")
    for c in range(10):
        of_class = [
            np.array([[round(v * 255 / 16) for v in row] for row in data.images[i]])
            for i in range(1797)
            if data.target[i] == c
        ]
        held_out = test.images[test.labels == c].numpy()
        kept = train.images[train.labels == c].numpy()
        assert np.array_equal(held_out, np.stack(of_class[3::4])[..., None].repeat(3, axis=3))
        assert np.array_equal(kept[:3], np.stack(of_class[:3])[..., None].repeat(3, axis=3))
        assert len(kept) == len(of_class) - len(of_class) // 4
    # Pinned: results on digits are compared across versions of this code.
    assert train.fingerprint == load_image_set("digits", "train").fingerprint
    assert train.fingerprint.startswith("eeef556b")


def test_digits__the_same_by_the_library_itself_where_its_file_lies_elsewhere(monkeypatch, tmp_path):
    read = load_image_set("digits", "train").fingerprint
    elsewhere = SimpleNamespace(origin=str(tmp_path / "sklearn" / "__init__.py"))
    monkeypatch.setattr("sar_cls.data.digits.find_spec", lambda name: elsewhere)
    assert load_image_set("digits", "train").fingerprint == read


def test_digits__do_not_wait_for_the_import_of_scikit_learn():
    code = "import sys; from sar_cls.data import load_image_set; load_image_set('digits', 'test')"
    command = [sys.executable, "-c", f"{code}; print('sklearn' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [("mnist", "train", "unknown data set 'mnist'"), ("digits", "valid", "unknown split 'valid'")],
)
def test_load_image_set__unknown(name, split, message):
    with pytest.raises(InputError, match=message):
        load_image_set(name, split)
