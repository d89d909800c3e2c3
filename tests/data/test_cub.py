"""CUB-200-2011 in its official layout, and the memory-mapped cache of its decoded images."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sar_cls.data import DeviceLoader, ImageSet, cub, memmap_cache
from sar_cls.data.cub import load_cub
from sar_cls.errors import InputError

CLASSES = ("001.Ant_Bird", "002.Bee_Bird", "003.Cat_Bird")
PER_CLASS = 4
SIZE = 8


def picture(number: int, height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes with two train and two test images each, of different shapes; png data under .jpg names, so lossless."""
    root = tmp_path / "data" / "CUB_200_2011"
    lines: dict[str, list[str]] = {name: [] for name in cub.INDEX_FILES}
    number = 0
    for label, name in enumerate(CLASSES, 1):
        (root / "images" / name).mkdir(parents=True)
        lines["classes.txt"].append(f"{label} {name}")
        for i in range(PER_CLASS):
            number += 1
            path = f"{name}/{i:04}.jpg"
            Image.fromarray(picture(number, 4 + i, 9 - i)).save(root / "images" / path, format="PNG")
            lines["images.txt"].append(f"{number} {path}")
            lines["image_class_labels.txt"].append(f"{number} {label}")
            lines["train_test_split.txt"].append(f"{number} {i % 2}")
    for name, content in lines.items():
        (root / name).write_text("\n".join(content) + "\n")
    return root


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def load(root: Path, split: str = "train", num_classes: int = 3, **kwargs) -> ImageSet:
    return load_cub(split, root, num_classes, SIZE, **kwargs)


def expected(number: int) -> np.ndarray:
    i = (number - 1) % PER_CLASS
    return np.asarray(Image.fromarray(picture(number, 4 + i, 9 - i)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files decoded so far."""
    names: list[str] = []
    original = memmap_cache.decode_rgb

    def counted(file: Path, size: int) -> np.ndarray:
        names.append(f"{file.parent.name}/{file.name}")
        return original(file, size)

    monkeypatch.setattr(memmap_cache, "decode_rgb", counted)
    return names


@pytest.mark.parametrize(("split", "numbers"), [("train", [2, 4, 6, 8, 10, 12]), ("test", [1, 3, 5, 7, 9, 11])])
def test_content_labels_and_order(root, split, numbers):
    image_set = load(root, split)
    assert image_set.classes == CLASSES
    assert image_set.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(image_set.images.numpy(), [expected(number) for number in numbers])
    assert (image_set.name, image_set.split) == ("cub200", split)


def test_first_classes_only(root):
    shutil.rmtree(root / "images" / CLASSES[2])
    image_set = load(root, num_classes=2)
    assert image_set.classes == CLASSES[:2]
    assert image_set.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(image_set.images.numpy(), [expected(number) for number in (2, 4, 6, 8)])


def test_second_load_decodes_nothing_and_agrees(root, decoded):
    first = load(root)
    assert len(decoded) == 12
    second, test = load(root.parent), load(root, "test")
    assert len(decoded) == 12
    torch.testing.assert_close(second.images, first.images)
    # The stored fingerprint is the one that the content has.
    for image_set in (second, test):
        images = torch.from_numpy(image_set.images.numpy().copy())
        fresh = ImageSet(images, image_set.labels, image_set.classes, "cub200", image_set.split)
        assert image_set.fingerprint == fresh.fingerprint
    assert first.fingerprint != test.fingerprint


def test_works_in_a_loader_and_moves_to_a_device(root, device):
    image_set = load(root).to(device)
    batches = list(DeviceLoader(image_set, 4))
    assert [len(batch["targets"]) for batch in batches] == [4, 2]
    torch.testing.assert_close(torch.cat([batch["inputs"] for batch in batches]), image_set.images)


def test_cache_is_a_mapped_file_where_it_was_asked_for(root, tmp_path):
    load(root, cache_dir=tmp_path / "cache")
    assert not (root / ".sar_cls_cache").exists()
    (file,) = (tmp_path / "cache").glob("*.npy")
    assert np.load(file, mmap_mode="r").shape == (12, SIZE, SIZE, 3)
    assert not list((tmp_path / "cache").glob("*partial*"))


def test_changed_source_other_size_and_lost_header_build_again(root, decoded):
    load(root)
    load_cub("train", root, 3, SIZE + 1)
    assert len(decoded) == 24
    Image.fromarray(picture(99, 20, 20)).save(root / "images" / CLASSES[0] / "0001.jpg", format="PNG")
    assert np.array_equal(
        load(root).images[0].numpy(),
        np.asarray(Image.fromarray(picture(99, 20, 20)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)),
    )
    assert len(decoded) == 36
    for header in (root / ".sar_cls_cache").glob("*.json"):
        header.write_text("{")
    load(root)
    assert len(decoded) == 48


def test_verify_finds_a_changed_byte(root):
    load(root)
    (file,) = (root / ".sar_cls_cache").glob("*.npy")
    load(root, verify=True)
    images = np.load(file, mmap_mode="r+")
    images[1, 0, 0, 0] ^= 1
    images.flush()
    with pytest.raises(InputError, match="do not match their fingerprint"):
        load(root, verify=True)
    load(root, "test", verify=True)  # the other split is whole


def test_truncated_cache_is_built_again(root, decoded):
    load(root)
    (file,) = (root / ".sar_cls_cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    load(root, verify=True)
    assert len(decoded) == 24


def test_killed_build_goes_on(root, tmp_path, monkeypatch):
    """A process that dies without any cleaning up; the next one decodes what is not on the disk, and only that."""
    script = f"""
import os, sys
from sar_cls.data import memmap_cache
from sar_cls.data.cub import load_cub
memmap_cache.BYTES_PER_FLUSH = 3 * {SIZE * SIZE * 3}
original, calls = memmap_cache._write_json, []
def dying(file, content):
    original(file, content)
    calls.append(file)
    if len(calls) == 2:
        os._exit(9)
memmap_cache._write_json = dying
load_cub("train", {str(root)!r}, 3, {SIZE}, cache_dir={str(tmp_path / "cache")!r})
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 9
    (partial,) = (tmp_path / "cache").glob("*.npy.partial")
    with partial.open("ab") as stream:  # half an image that was never counted
        stream.write(b"\xff" * 50)
    whole = load(root, cache_dir=tmp_path / "whole")
    names: list[str] = []
    original = memmap_cache.decode_rgb
    monkeypatch.setattr(memmap_cache, "decode_rgb", lambda file, size: names.append(file.name) or original(file, size))
    resumed = load(root, cache_dir=tmp_path / "cache", verify=True)
    assert len(names) == 6
    torch.testing.assert_close(resumed.images, whole.images)
    assert resumed.fingerprint == whole.fingerprint
    assert not list((tmp_path / "cache").glob("*partial*"))


def test_disk_too_small_is_said_before_decoding(root, monkeypatch, decoded):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(memmap_cache.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 12 * SIZE * SIZE * 3 - 1))
    with pytest.raises(InputError, match=r"12 images decoded to 8 x 8 pixels need 0\.0 GB in .*choose a smaller size"):
        load(root)
    assert decoded == []
    monkeypatch.setattr(memmap_cache.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 12 * SIZE * SIZE * 3))
    load(root)


def test_disk_full_while_decoding(root, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memmap_cache.os, "fsync", full)
    with pytest.raises(InputError, match="is full: free some room"):
        load(root)


def test_progress_is_plain_lines_without_a_terminal(root, capsys):
    load(root)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("12 images decoded to 8 x 8 pixels need")
    assert lines[-1] == "decoding to 8 x 8: 0:00 left, 0:00 so far, 12 of 12 images"


def test_modes_become_rgb(tmp_path):
    colours = picture(0, SIZE, SIZE)
    grey = colours[..., 0]
    saved = {
        "grey.png": Image.fromarray(grey),
        "alpha.png": Image.fromarray(np.dstack([colours, grey])),
        "cmyk.tif": Image.fromarray(colours).convert("CMYK"),
        "palette.png": Image.fromarray(colours).quantize(256),
        "palette_alpha.png": Image.fromarray(colours).quantize(255),
    }
    for name, image in saved.items():
        image.save(tmp_path / name, **({"transparency": b"\x00\x80"} if name == "palette_alpha.png" else {}))
    got = {name: memmap_cache.decode_rgb(tmp_path / name, SIZE).astype(int) for name in saved}
    assert all(image.shape == (SIZE, SIZE, 3) for image in got.values())
    np.testing.assert_array_equal(got["grey.png"], np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(got["alpha.png"], colours)
    assert np.abs(got["cmyk.tif"] - colours).max() <= 1
    assert np.abs(got["palette.png"] - colours).mean() < 2  # 64 colours fit a palette
    assert np.abs(got["palette_alpha.png"] - colours).mean() < 2


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(picture(0, SIZE, SIZE))
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        memmap_cache.decode_rgb(tmp_path / "turned.png", SIZE), np.rot90(picture(0, SIZE, SIZE), k=-1)
    )


def test_resize_is_that_of_the_recipe(tmp_path):
    """mmcv's Resize(scale=S) on real-sized images: a square, bilinear, the aspect ratio not kept."""
    mmcv = pytest.importorskip("mmcv")
    smooth = np.asarray(Image.fromarray(picture(3, 6, 8)).resize((50, 37), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "a.png")
    theirs = mmcv.transforms.Resize(scale=60)({"img": smooth})["img"]
    ours = memmap_cache.decode_rgb(tmp_path / "a.png", 60)
    assert ours.shape == theirs.shape == (60, 60, 3)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_damaged_image_is_named_and_16_bits_refused(root, tmp_path):
    file = root / "images" / CLASSES[1] / "0002.jpg"
    Image.fromarray(picture(0, 64, 64)).save(file, format="JPEG")
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(InputError, match=r"002\.Bee_Bird/0002\.jpg is damaged"):
        load(root)
    assert not list((root / ".sar_cls_cache").glob("*.npy"))
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="convert it to 8 bits"):
        memmap_cache.decode_rgb(tmp_path / "deep.png", SIZE)


BAD_INDEX = {
    "label_too_high": ("image_class_labels.txt", "7 2", "7 4", "gives image 7 the label 4, but classes.txt has 1 to 3"),
    "label_zero": ("image_class_labels.txt", "7 2", "7 0", "the label 0"),
    "no_label": ("image_class_labels.txt", "7 2\n", "", "has no line for image 7"),
    "no_split": ("train_test_split.txt", "7 0\n", "", "has no line for image 7"),
    "bad_split": ("train_test_split.txt", "7 0", "7 2", "has '2' for image 7, not 0 or 1"),
    "listed_twice": ("images.txt", "0001.jpg", "0000.jpg", r"lists 001\.Ant_Bird/0000\.jpg twice, as 1 and as 2"),
    "number_twice": ("images.txt", "2 001", "1 001", "two lines for number 1"),
    "outside": ("images.txt", "001.Ant_Bird/0001.jpg", "../0001.jpg", "lies outside images/"),
    "broken_line": ("images.txt", "2 001.Ant_Bird/", "2 001.Ant Bird/", "line 2 of"),
    "class_gap": ("classes.txt", "2 002", "5 002", "does not number its classes 1 to 3"),
}


@pytest.mark.parametrize("case", BAD_INDEX)
def test_bad_index(root, case):
    name, old, new, message = BAD_INDEX[case]
    edit(root / name, old, new)
    with pytest.raises(InputError, match=message):
        load(root)


def test_class_without_a_train_image(root):
    for number in (6, 8):
        edit(root / "train_test_split.txt", f"\n{number} 1", f"\n{number} 0")
    with pytest.raises(InputError, match="leaves class 2 without an image for train"):
        load(root)


@pytest.mark.parametrize("name", cub.INDEX_FILES)
def test_index_file_missing_or_empty(root, name):
    (root / name).write_text("\n")
    with pytest.raises(InputError, match=f"{name} is empty"):
        load(root)
    (root / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load(root)


def test_missing_images_are_counted_and_named_in_one_sentence(root):
    shutil.rmtree(root / "images" / CLASSES[2])
    with pytest.raises(InputError) as error:
        load(root)
    message = str(error.value)
    assert "4 of the 12 images listed are missing" in message
    assert "003.Cat_Bird/0000.jpg, 003.Cat_Bird/0001.jpg, 003.Cat_Bird/0002.jpg, ..." in message
    assert "(--classes 2)" in message
    assert "\n" not in message


def test_wrong_arguments(root, tmp_path):
    with pytest.raises(InputError, match=r"is not under .*: give the folder CUB_200_2011"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"lists 3 classes, not 200: ask for 3 \(--classes 3\)"):
        load_cub("train", root, size=SIZE)
    for kwargs, message in (
        ({"split": "val"}, "unknown split"),
        ({"num_classes": 1}, "from 2 to 200"),
        ({"num_classes": 201}, "from 2 to 200"),
        ({"size": 0}, "an image size of 0"),
    ):
        with pytest.raises(InputError, match=message):
            load_cub(**{"split": "train", "data_root": root, "num_classes": 3, "size": SIZE, **kwargs})


def test_official_archive(root, tmp_path, monkeypatch):
    away = tmp_path / "away"
    away.mkdir()
    archive = away / "CUB_200_2011.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, "CUB_200_2011")
    whole = load(root)
    with pytest.raises(InputError, match="not the published 97eceeb196236b17998738112f37df78"):
        load(archive)
    assert not (away / "CUB_200_2011").exists()
    monkeypatch.setattr(cub, "ARCHIVE_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert load(archive).fingerprint == whole.fingerprint
    monkeypatch.setattr(cub, "extract_folder", None)  # unpacked once only
    assert load(archive).fingerprint == load(away).fingerprint == whole.fingerprint


def test_header_says_what_the_cache_holds(root):
    train, test = load(root), load(root, "test")
    (header,) = (root / ".sar_cls_cache").glob("*.json")
    content = json.loads(header.read_text())
    assert content["shape"] == [12, SIZE, SIZE, 3]
    assert content["fingerprints"] == {"train": train.fingerprint, "test": test.fingerprint}


def test_without_build_nothing_is_decoded(root, decoded, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=r"the images of cub200 are not decoded in .*cache yet"):
        load(root, cache_dir=cache, build=False)
    assert decoded == []
    assert not cache.exists()
    whole = load(root, cache_dir=cache)
    assert load(root, cache_dir=cache, build=False).fingerprint == whole.fingerprint


@pytest.mark.real_data
def test_real_images(real_data, tmp_path):
    train, test = (load_cub(split, real_data, 50, 32, cache_dir=tmp_path) for split in ("train", "test"))
    assert (len(train), len(test), train.num_classes) == (1500, 1389, 50)
    assert train.classes[0] == "001.Black_footed_Albatross"
    assert min(train.counts) >= 29
    assert 90 < train.images.float().mean() < 150
