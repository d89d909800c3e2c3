"""CamVid from its official layout, on small synthetic files; the real set where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_scenes import write_camvid

from sar_cls.data import VOID, load_masked_set
from sar_cls.data.camvid import CLASSES
from sar_cls.errors import InputError

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("place", ["parent", "folder"])
def test_official_layout(tmp_path: Path, place: str) -> None:
    folder = write_camvid(tmp_path)
    found = load_masked_set("camvid", "val", tmp_path if place == "parent" else folder)
    assert found.classes == CLASSES
    assert found.files == ("val0.png", "val1.png", "val2.png")
    assert found.image_size == (12, 16)
    with Image.open(folder / "val" / "val1.png") as image:
        assert np.array_equal(found.images[1].numpy(), np.asarray(image))
    with Image.open(folder / "valannot" / "val1.png") as mask:
        expected = np.asarray(mask)
    assert np.array_equal(found.labels[1].numpy(), np.where(expected == 11, VOID, expected))
    assert found.counts == [16 * 3] * 11


def spoil(folder: Path, fault: str) -> None:
    image, mask = folder / "train" / "train1.png", folder / "trainannot" / "train1.png"
    if fault == "no mask":
        mask.unlink()
    elif fault == "no image":
        image.unlink()
    elif fault == "an image twice":
        Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(image.with_suffix(".jpg"))
    elif fault == "a mask twice":
        Image.fromarray(np.zeros((12, 16), np.uint8)).save(mask.with_suffix(".PNG"), format="png")
    elif fault == "other size":
        Image.fromarray(np.zeros((12, 15), np.uint8)).save(mask)
    elif fault == "colours":
        Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(mask)
    elif fault == "out of range":
        Image.fromarray(np.full((12, 16), 12, np.uint8)).save(mask)
    elif fault == "void as 255":
        Image.fromarray(np.full((12, 16), 255, np.uint8)).save(mask)
    elif fault == "images of two sizes":
        Image.fromarray(np.zeros((13, 16, 3), np.uint8)).save(image)
        Image.fromarray(np.zeros((13, 16), np.uint8)).save(mask)
    elif fault == "half a file":
        image.write_bytes(image.read_bytes()[:60])
    elif fault == "no masks at all":
        for file in (folder / "trainannot").iterdir():
            file.unlink()
        (folder / "trainannot").rmdir()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no mask", "train1.png has no mask .*trainannot/train1.png: add it"),
        ("no image", "trainannot/train1.png has no image"),
        ("an image twice", r"CamVid/train has train1\.jpg and train1\.png: keep one of the two"),
        ("a mask twice", r"CamVid/trainannot has train1\.PNG and train1\.png: keep one of the two"),
        ("other size", "trainannot/train1.png is of 12x15 pixels and its image of 12x16"),
        ("colours", "trainannot/train1.png has pixels of type RGB and is no mask"),
        ("out of range", "trainannot/train1.png holds label 12: CamVid has the classes 0 to 10 and void as 11"),
        ("void as 255", "trainannot/train1.png holds label 255: void is 11"),
        ("images of two sizes", "train/train1.png is of 13x16 pixels and train0.png of 12x16"),
        ("half a file", "train/train1.png is damaged or no image"),
        ("no masks at all", "there is no folder .*trainannot"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, fault: str, message: str) -> None:
    folder = write_camvid(tmp_path)
    spoil(folder, fault)
    with pytest.raises(InputError, match=message):
        load_masked_set("camvid", "train", tmp_path)


def test_missing_data_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no CamVid in .*: fetch CamVid as SegNet's tutorial has it .*CamVid/trainannot"
    ):
        load_masked_set("camvid", "train", tmp_path)
    with pytest.raises(InputError, match="unknown set of images with masks 'camvit'"):
        load_masked_set("camvit", "train", tmp_path)


@pytest.mark.real_data
def test_real_camvid_has_its_published_size() -> None:
    root = os.environ.get("SAR_CLS_DATA")
    if not root or not (Path(root) / "CamVid").is_dir():
        pytest.skip("no CamVid: set SAR_CLS_DATA to the folder that holds it")
    sets = [load_masked_set("camvid", split, root) for split in ("train", "val", "test")]
    assert [len(part) for part in sets] == [367, 101, 233]
    train = torch.tensor(sets[0].counts, dtype=torch.float64)
    share = dict(zip(CLASSES, (100 * train / train.sum()).tolist(), strict=True))
    assert max(share, key=share.__getitem__) == "Road"
    assert share["Bicyclist"] < 1
