"""Whether images are there, asked without reading any: what the reader itself says, and nothing where it would begin to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sar_cls.data.load import IMAGE_SETS, MASKED_SETS
from sar_cls.errors import InputError
from sar_cls.mm.data_places import check_data
from sar_cls.mm.loaders import load_splits


def cifar_pickles(root: Path) -> None:
    (root / "cifar-100-python").mkdir(parents=True)


def class_folders(root: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)


def cub_index(root: Path) -> None:
    (root / "CUB_200_2011").mkdir(parents=True)
    (root / "CUB_200_2011" / "images.txt").touch()


def cub_archive(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "CUB_200_2011.tgz").touch()


def camvid_images(root: Path) -> None:
    (root / "CamVid" / "train").mkdir(parents=True)


PLACES = [
    ("cifar100", cifar_pickles),
    ("cifar100", class_folders),
    ("cub200", cub_index),
    ("cub200", cub_archive),
    ("camvid", camvid_images),
    ("folder", class_folders),
]


@pytest.mark.parametrize(("name", "lay_out"), PLACES, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_there_is_found_and_left_alone(name: str, lay_out: Callable[[Path], None], tmp_path: Path) -> None:
    root = tmp_path / "data"
    lay_out(root)
    before = sorted(tmp_path.rglob("*"))
    check_data({"name": name}, str(root))
    check_data({"name": name, "data_root": str(root)})
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", sorted({*IMAGE_SETS, *MASKED_SETS} - {"digits"}))
def test_what_is_missing_is_said_as_the_reader_says_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as looked:
        check_data({"name": name}, str(tmp_path))
    with pytest.raises(InputError) as read:
        load_splits({"name": name}, str(tmp_path))
    assert str(looked.value) == str(read.value)


@pytest.mark.parametrize("config", [{"name": "digits"}, {"name": "cifar10"}, {"name": "cifar100"}], ids=str)
def test_what_comes_with_a_library_or_would_be_fetched_is_not_missing(config: dict[str, Any], tmp_path: Path) -> None:
    check_data(config, str(tmp_path), download=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_sets_of_mmseg(split: str, tmp_path: Path) -> None:
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    parts = {
        name: {"type": "CityscapesDataset", "data_root": "data/city", "data_prefix": {"img_path": name}}
        for name in ("train", "test")
    }
    for name in parts:
        (tmp_path / "city" / name).mkdir(parents=True)
    check_data({"name": "cityscapes", **parts}, str(tmp_path))
    (tmp_path / "city" / split).rmdir()
    with pytest.raises(InputError, match=f"{split} is missing: fetch .*, and put it there"):
        check_data({"name": "cityscapes", **parts}, str(tmp_path))
