"""What every reader of image files refuses, in one sentence: damaged files, and pixels of more than 8 bits a channel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sar_cls.errors import InputError
from sar_cls.files import why

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow turns these into 8-bit RGB without loss of range; others (16 bits, float) it would clip.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def require_eight_bits(image: Image, file: Path | str) -> None:
    """Raises `InputError` where the opened ``image`` has more than 8 bits a channel."""
    if image.mode not in EIGHT_BIT_MODES:
        raise InputError(f"{file} has pixels of type {image.mode}: convert it to 8 bits a channel")


@contextmanager
def decoding(file: Path | str, remedy: str) -> Iterator[None]:
    """Turns whatever goes wrong in the block into an `InputError` that names the file and says what to do: ``remedy``."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ... on damaged files
        if isinstance(error, OSError) and error.errno is not None:  # the file system's word, not Pillow's
            raise InputError(why(error, file)) from error
        raise InputError(f"{file} is damaged or no image ({_reason(error, Path(file))}): {remedy}") from error


def _reason(error: Exception, file: Path) -> str:
    """What is wrong with a file, in a few words; Pillow's own speak of objects where it does not know the format at all."""
    from PIL import UnidentifiedImageError

    if file.is_file() and not file.stat().st_size:
        return "it is empty"
    return "its format is not known" if isinstance(error, UnidentifiedImageError) else str(error)
