"""What is refused about files of images and masks, each fault in a file behind good ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sar_cls.data.mask_files import check_headers, require_classes, require_decodable
from sar_cls.errors import InputError

Image = pytest.importorskip("PIL.Image")
SIZE = (12, 16)


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    found = [(tmp_path / f"image{index}.png", tmp_path / f"mask{index}.png") for index in range(40)]
    for image, mask in found:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(image)
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(mask)
    return found


def test_good_files_pass(pairs: list[tuple[Path, Path]]) -> None:
    Image.fromarray(np.zeros(SIZE, np.uint8)).convert("P").save(pairs[7][1])
    check_headers(pairs)


def spoil(image: Path, mask: Path, fault: str) -> None:
    if fault == "no mask":
        mask.unlink()
    elif fault == "no image":
        image.unlink()
    elif fault == "other size":
        Image.fromarray(np.zeros((12, 15), np.uint8)).save(mask)
    elif fault == "turned":
        Image.fromarray(np.zeros((16, 12), np.uint8)).save(mask)
    elif fault == "colours":
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(mask)
    elif fault == "16 bits":
        Image.fromarray(np.full(SIZE, 258, np.uint16)).save(mask)
    elif fault == "a damaged mask":
        mask.write_bytes(b"no image")
    elif fault == "a damaged image":
        image.write_bytes(b"no image")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no mask", "image33.png has no mask .*mask33.png: add it, or remove the image"),
        ("no image", "image33.png: it is not there"),
        ("other size", "mask33.png is of 12x15 pixels and its image of 12x16: give a mask of the same size"),
        ("turned", "mask33.png is of 16x12 pixels and its image of 12x16: give a mask of the same size"),
        ("colours", "mask33.png has pixels of type RGB and is no mask of labels: save it as 8-bit greyscale"),
        ("16 bits", "mask33.png has pixels of type I;16 and is no mask of labels: save it as 8-bit greyscale"),
        ("a damaged mask", "mask33.png is damaged or no image .*: fetch it again"),
        ("a damaged image", "image33.png is damaged or no image .*: fetch it again"),
    ],
)
def test_a_bad_file_is_named_wherever_it_stands(pairs: list[tuple[Path, Path]], fault: str, message: str) -> None:
    spoil(*pairs[33], fault)
    with pytest.raises(InputError, match=message) as error:
        check_headers(pairs)
    assert "\n" not in str(error.value)


def test_the_first_of_several_is_named(pairs: list[tuple[Path, Path]]) -> None:
    for index in (39, 5, 20):
        spoil(*pairs[index], "colours")
    with pytest.raises(InputError, match=r"mask5\.png"):
        check_headers(pairs)


def photograph(folder: Path, orientation: int, mask: tuple[int, int]) -> list[tuple[Path, Path]]:
    """An image of ``SIZE`` that is to be shown as its EXIF tag says, and a mask of this size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "image.jpg", exif=exif)
    Image.fromarray(np.zeros(mask, np.uint8)).save(folder / "mask.png")
    return [(folder / "image.jpg", folder / "mask.png")]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_of_the_size_of_the_photograph_as_it_is_shown(tmp_path: Path, orientation: int) -> None:
    """mmseg turns the image and not the mask."""
    turned = SIZE[::-1]
    fits, other = (turned, SIZE) if orientation >= 5 else (SIZE, turned)
    pairs = photograph(tmp_path, orientation, fits)
    assert check_headers(pairs) == ([pairs[0][0]] if orientation in (2, 3, 4) else [])  # of one size either way
    pairs = photograph(tmp_path, orientation, other)
    sizes = f"{other[0]}x{other[1]} pixels and its image of {fits[0]}x{fits[1]}"
    with pytest.raises(InputError, match=rf"mask\.png is of {sizes}") as error:
        check_headers(pairs)
    assert ("EXIF" in str(error.value)) == (orientation >= 5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_mmseg_turns_the_image_and_not_the_mask(tmp_path: Path, orientation: int) -> None:
    """What the check rests on."""
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    from mmengine.registry import DefaultScope
    from mmseg.registry import TRANSFORMS

    import sar_cls.mm.seg  # noqa: F401 (registers them)

    fits = SIZE[::-1] if orientation >= 5 else SIZE
    ((image, mask),) = photograph(tmp_path, orientation, fits)
    read = {"img_path": str(image), "seg_map_path": str(mask), "seg_fields": [], "label_map": None}
    with DefaultScope.overwrite_default_scope("mmseg"):
        for name in ("LoadImageFromFile", "LoadAnnotations"):
            read = TRANSFORMS.build(dict(type=name))({**read, "reduce_zero_label": False})
    assert read["img"].shape[:2] == read["gt_seg_map"].shape == fits


@pytest.mark.parametrize("label", [0, 18, 19, 100, 254, 255])
def test_labels_from_the_number_of_classes_to_254_are_refused(label: int) -> None:
    labels = np.array([[0, 18], [255, label]], dtype=np.int64)
    if label in (*range(19), 255):
        require_classes(labels, "m.png", 19, "cityscapes")
        return
    with pytest.raises(
        InputError, match=f"^m.png holds label {label}: cityscapes has the classes 0 to 18 and 255 for none$"
    ):
        require_classes(labels, "m.png", 19, "cityscapes")


def test_where_the_file_has_0_for_none_its_own_values_are_named() -> None:
    with pytest.raises(InputError, match=r"^m.png holds label 200: ade20k has the classes 1 to 150 and 0 for none$"):
        require_classes(np.array([3, 255, 199], dtype=np.uint8), "m.png", 150, "ade20k", none_is_zero=True)


def test_half_a_file_is_refused_where_it_is_read_to_its_end(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.png", tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(whole)
    half.write_bytes(whole.read_bytes()[:2000])
    require_decodable(whole)
    with pytest.raises(InputError, match=r"half.png is damaged or no image .*: fetch it again"):
        require_decodable(half)
