"""The files of an image folder: which are passed over, and what is said of those that cannot be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sar_cls.data import folder as folder_module
from sar_cls.data import load_image_set
from sar_cls.errors import InputError

from .image_folders import picture


def test_files_that_are_passed_over_are_counted_in_one_line(root, capsys):
    load_image_set("folder", "train", root)
    capsys.readouterr()
    place = root / "train" / "ant"
    for name in ("a.tif", "b.TIF", "notes.txt", "README", ".hidden"):
        (place / name).touch()
    (place / "more" / "deep").mkdir(parents=True)
    for name in ("00.png", "deep/01.png"):
        (place / "more" / name).touch()
    for _ in range(2):  # from the cache too, where nothing else tells of them
        assert len(load_image_set("folder", "train", root)) == 12
        assert capsys.readouterr().err == (
            f"{root / 'train'}: 6 files passed over, 4 with another ending than .png, .jpg, .jpeg, .bmp and .webp "
            "(no ending, .tif, .txt), 2 in folders below a class\n"
        )
    (place / "c.gif").touch()
    load_image_set("folder", "train", root)
    assert "(no ending, .gif, .tif, ...)" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["train", "test"])
def test_an_empty_class_of_another_split_is_told_before_images_are_decoded(root, decoded, asked):
    other = "test" if asked == "train" else "train"
    for file in (root / other / "bee").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=rf"class folder .*{other}/bee holds no images"):
        load_image_set("folder", asked, root)
    assert decoded == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_image_names_the_file_and_leaves_no_cache(root, damage):
    file = root / "train" / "cat" / "03.png"
    content = file.read_bytes()
    file.write_bytes(
        {"truncated": content[: len(content) - 30], "empty": b"", "text": b"<html>not found</html>"}[damage]
    )
    reason = {"truncated": ".+", "empty": "it is empty", "text": "its format is not known"}[damage]
    says = rf"cat/03\.png is damaged or no image \({reason}\): replace or remove it$"
    with pytest.raises(InputError, match=says) as caught:
        load_image_set("folder", "train", root)
    assert "\n" not in str(caught.value)
    assert "object at" not in str(caught.value)
    assert not (root / ".sar_cls_cache").exists()


@pytest.mark.parametrize("number", [2, 6, 12])
def test_damaged_images_are_told_together(root, number, monkeypatch):
    monkeypatch.setattr(folder_module, "FILES_PER_TASK", 2)
    files = sorted((root / "train").glob("*/*.png"))
    for file in files[:number]:
        file.write_bytes(b"")
    more = ", ".join(map(str, files[1 : min(number, 4)])) + (", ..." if number > 4 else "")
    with pytest.raises(InputError) as caught:
        load_image_set("folder", "train", root)
    assert str(caught.value) == (
        f"{files[0]} is damaged or no image (it is empty): replace or remove it; "
        f"{number - 1} more of 12 images cannot be used: {more}"
    )


def test_damaged_png__every_single_byte(root):
    """Whatever byte of a PNG is flipped: it is noticed, or it changes no pixel."""
    file = root / "train" / "cat" / "03.png"
    rows, columns = np.mgrid[:24, :24]
    expected = np.stack([8 * rows, 8 * columns, 4 * (rows + columns)], axis=2).astype(np.uint8)
    Image.fromarray(expected).save(file)
    content = file.read_bytes()
    noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        file.write_bytes(damaged)
        try:
            assert np.array_equal(folder_module._decode_file(str(file)), expected), place
        except InputError:
            noticed += 1
    assert noticed > len(content) / 2


def test_an_image_that_may_not_be_read_is_not_called_damaged(root, monkeypatch):
    file, read_bytes = root / "train" / "cat" / "03.png", Path.read_bytes

    def denied(path):  # permissions do not hold for root
        if path == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"cat/03\.png: permission denied: give this user the right to it$"):
        load_image_set("folder", "train", root)


def test_sixteen_bits_names_the_file(root):
    Image.fromarray(picture(0)[:, :, 0].astype(np.uint16) * 256).save(root / "train" / "bee" / "02.png")
    with pytest.raises(InputError, match=r"bee/02\.png has pixels of type .*8 bits"):
        load_image_set("folder", "train", root)


def test_other_size_names_the_file(root):
    Image.fromarray(picture(0, height=5)).save(root / "train" / "bee" / "02.png")
    with pytest.raises(InputError, match=r"bee/02\.png is 6x5 pixels, but .*ant/00\.png is 6x4"):
        load_image_set("folder", "train", root)
