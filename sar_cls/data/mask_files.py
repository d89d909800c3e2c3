"""What is refused about images and masks that lie in files: missing, damaged, no labels, of two sizes, labels of no class.

Headers alone are read where that is enough, so that a set of tens of thousands of images is looked through in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.data.decoding import decoding
from sar_cls.data.masked_set import VOID
from sar_cls.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's modes of a mask whose pixels are the labels themselves.
_MASK_MODES = ("L", "P")
_AGAIN = "fetch it again"
# Files that are waited for at a time: on a disk far away it is the waiting that takes long.
_AT_A_TIME = 16
# EXIF's tag, its value for an image that is shown as it is stored, and from which value on height and width change places.
_ORIENTATION, _UPRIGHT, _ON_ITS_SIDE = 0x0112, 1, 5


def require_labels(mask: Image, file: Path | str) -> None:
    """Raises `InputError` where the opened ``mask`` has colours, or more than 8 bits, of which labels would be made silently."""
    if mask.mode not in _MASK_MODES:
        raise InputError(
            f"{file} has pixels of type {mask.mode} and is no mask of labels: save it as 8-bit greyscale, a class a value"
        )


def require_size(mask: tuple[int, int], file: Path | str, image: tuple[int, int]) -> None:
    """Raises `InputError` where the mask in ``file`` is of another size (H, W) than its image."""
    if mask != image:
        raise InputError(
            f"{file} is of {mask[0]}x{mask[1]} pixels and its image of {image[0]}x{image[1]}: give a mask of the same size"
        )


def require_classes(
    labels: np.ndarray, file: Path | str, num_classes: int, name: str, none_is_zero: bool = False
) -> None:
    """Refuses labels that are no class.

    Args:
        labels: integers of any shape, classes from 0, 255 for none.
        file: that they are from.
        num_classes: C.
        name: of the data set.
        none_is_zero: whether the file has 0 for none and the classes from 1 on; the message then speaks of its values.

    Raises:
        InputError: a label is from C to 254.
    """
    wrong = labels[(labels >= num_classes) & (labels != VOID)]
    if wrong.size:
        first = int(none_is_zero)
        raise InputError(
            f"{file} holds label {int(wrong.min()) + first}: {name} has the classes {first} to {num_classes - 1 + first} and "
            f"{0 if none_is_zero else VOID} for none"
        )


def require_decodable(file: Path) -> None:
    """Raises `InputError` where an image file cannot be read to its end."""
    from PIL import Image

    with decoding(file, _AGAIN), Image.open(file) as opened:
        opened.load()


def check_headers(pairs: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Looks at the headers of all images and masks.

    Of 20,210 pairs on a local disk, the number of ADE20K, that took 4 s on a busy machine of two cores; it is done once for a run.

    Args:
        pairs: image and mask.

    Returns:
        The images that their EXIF tag turns upside down or mirrors. mmseg does so with the image and not with its mask, and no
        size tells on which of the two the mask was drawn.

    Raises:
        InputError: the first that is missing, no image, or no mask of labels of its image's size.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        turned = list(pool.map(_check_pair, pairs))
    return [image for (image, _), is_turned in zip(pairs, turned, strict=True) if is_turned]


def _check_pair(pair: tuple[Path, Path]) -> bool:
    """Whether the image is turned upside down or mirrored where it is shown."""
    from PIL import Image

    image_file, mask_file = pair
    if not mask_file.is_file():
        raise InputError(f"{image_file} has no mask {mask_file}: add it, or remove the image")
    with decoding(image_file, _AGAIN), Image.open(image_file) as image:
        size = (image.height, image.width)
        orientation = image.getexif().get(_ORIENTATION, _UPRIGHT) if "exif" in image.info else _UPRIGHT
    with decoding(mask_file, _AGAIN), Image.open(mask_file) as mask:
        require_labels(mask, mask_file)
        # A camera held on its side: mmseg reads the image turned and the mask as it is, which must therefore be drawn on the
        # turned one; drawn on the other, it would be cropped elsewhere than its image.
        if orientation >= _ON_ITS_SIDE:
            _require_turned((mask.height, mask.width), mask_file, (size[1], size[0]))
        else:
            require_size((mask.height, mask.width), mask_file, size)
    return _UPRIGHT < orientation < _ON_ITS_SIDE


def _require_turned(mask: tuple[int, int], file: Path, turned: tuple[int, int]) -> None:
    if mask != turned:
        raise InputError(
            f"{file} is of {mask[0]}x{mask[1]} pixels and its image of {turned[0]}x{turned[1]} when it is turned as its EXIF tag "
            "says: turn the mask too, or save the image upright without the tag"
        )
