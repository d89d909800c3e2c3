"""Images decoded once into one memory-mapped file, for sets that are too large for memory.

A cache is two files: ``NAME.npy``, uint8 [n, size, size, 3], and ``NAME.json`` with the key of its sources and the
fingerprints of its splits. While it is built the images lie in ``NAME.npy.partial``, and ``NAME.partial.json`` says
how many of them are safely on the disk: a build that is killed goes on from there. The last step is a rename, so that
``NAME.npy`` is always complete.

The fingerprints (sha256) are computed once, when the cache is built. Reading 13 GB to check them at every start would
take longer than the start itself, so a load compares the key of the sources, the shape and the file's size, and reads
all of it only on request.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from sar_cls import messages
from sar_cls.data.counting import counting
from sar_cls.data.decoding import decoding, require_eight_bits
from sar_cls.data.image_set import ImageSet
from sar_cls.errors import InputError
from sar_cls.files import replacing

FORMAT = 1  # raise it when decoding or resizing changes: older files are then built again
BYTES_PER_FLUSH = 64 << 20


@dataclass(frozen=True)
class Split:
    """One split of a set: its rows follow each other in the cache.

    Attributes:
        name: ``"train"`` or ``"test"``.
        files: the image files, in order.
        labels: their labels, in the same order.
    """

    name: str
    files: tuple[Path, ...]
    labels: tuple[int, ...]


def load_split(
    split: str,
    splits: Sequence[Split],
    classes: tuple[str, ...],
    *,
    name: str,
    key: str,
    size: int,
    file: Path,
    verify: bool = False,
    build: bool = True,
) -> ImageSet:
    """One split from the cache, which is built first where it is missing or out of date.

    Args:
        split: the name of the wanted one.
        splits: all splits of the set; they share one cache.
        classes: the class names.
        name: of the set.
        key: of the source files: a cache with another key is out of date.
        size: images become ``size`` x ``size`` pixels.
        file: the cache file, ``*.npy``. Several processes may ask for it at once: one builds, the others wait.
        verify: read the whole split and compare it with its stored fingerprint.
        build: False refuses a cache that is missing or out of date.

    Returns:
        The images are a read-only view of the mapped file: nothing is read before it is used. Writing into them is an
        error that ends the process. ``fingerprint`` is the stored one.

    Raises:
        InputError: a damaged image, no room on the disk; with ``verify``, a content that differs from the fingerprint;
            without ``build``, no current cache.
    """
    key = f"{FORMAT}-{size}-{key}"
    count = sum(len(part.files) for part in splits)
    shape = (count, size, size, 3)
    header = _read_header(file, key, shape)
    if header is None and not build:
        raise InputError(f"the images of {name} are not decoded in {file.parent} yet: the next training run will do it")
    if header is None:
        header = _build(splits, classes, name, key, shape, file)
    images = _map(file)
    start = 0
    for part in splits:
        if part.name == split:
            break
        start += len(part.files)
    image_set = _image_set(images, start, part, classes, name)
    stored = header["fingerprints"][split]
    if verify and image_set.fingerprint != stored:
        raise InputError(
            f"the decoded images in {file} do not match their fingerprint: delete the file, it will be built again"
        )
    # The content is known: ImageSet would otherwise hash all of it when it is asked.
    image_set.__dict__["fingerprint"] = stored
    return image_set


def decode_rgb(file: Path, size: int) -> np.ndarray:
    """One image as uint8 [size, size, 3].

    It is turned upright by its EXIF tag, converted to RGB, and resized to a square without keeping its aspect ratio,
    bilinear, as mmcv's ``Resize(scale=size)`` does. Where that makes it larger the two agree to rounding; where it
    makes it smaller Pillow averages over all pixels and OpenCV does not.

    Raises:
        InputError: a damaged file, or more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    with decoding(file, "fetch it again"), Image.open(file) as image:
        require_eight_bits(image, file)
        upright = ImageOps.exif_transpose(image)
        if "transparency" in upright.info:  # Pillow warns of palettes with transparency otherwise
            upright = upright.convert("RGBA")
        return np.asarray(upright.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def _image_set(images: np.ndarray, start: int, part: Split, classes: tuple[str, ...], name: str) -> ImageSet:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        pixels = torch.from_numpy(images[start : start + len(part.files)])
    return ImageSet(pixels, torch.tensor(part.labels, dtype=torch.int64), classes, name, part.name)


def _read_header(file: Path, key: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """The header of a complete and current cache; None otherwise."""
    try:
        header = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        if header["key"] == key and file.is_file() and _map(file).shape == shape and "fingerprints" in header:
            return header
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _map(file: Path) -> np.ndarray:
    """Read-only: a private writable mapping of 13 GB counts against the memory that the system is willing to "
    "promise."""
    return np.lib.format.open_memmap(file, mode="r")


def _build(
    splits: Sequence[Split], classes: tuple[str, ...], name: str, key: str, shape: tuple[int, ...], file: Path
) -> dict[str, Any]:
    from filelock import FileLock

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            header = _read_header(file, key, shape)  # another process may just have built it
            if header is not None:
                return header
            file.unlink(missing_ok=True)  # out of date: its room is needed
            partial = file.with_suffix(".npy.partial")
            paths = [path for part in splits for path in part.files]
            _decode_all(paths, key, shape, partial, file)
            images = _map(partial)
            fingerprints = {}
            start = 0
            for part in splits:
                fingerprints[part.name] = _image_set(images, start, part, classes, name).fingerprint
                start += len(part.files)
            header = {"key": key, "shape": list(shape), "fingerprints": fingerprints}
            _write_json(file.with_suffix(".json"), header)
            os.replace(partial, file)
            file.with_suffix(".partial.json").unlink(missing_ok=True)
            return header
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"the disk of {file.parent} is full: free some room and start again, what is decoded is kept"
            ) from error
        raise InputError(
            f"cannot write the decoded images to {file.parent} ({error}): name another cache folder"
        ) from error


def _decode_all(paths: list[Path], key: str, shape: tuple[int, ...], partial: Path, file: Path) -> None:
    """Writes all images to ``partial``, from where an earlier build stopped."""
    state_file = file.with_suffix(".partial.json")
    row = int(np.prod(shape[1:]))
    done = _rows_done(state_file, partial, key, row)
    _need_room(file.parent, shape, done, row)
    with partial.open("r+b" if done else "w+b") as stream:
        if done == 0:
            _write_npy_header(stream, shape)
        else:
            _seek_past_npy_header(stream)
        stream.seek(stream.tell() + done * row)
        stream.truncate()  # rows of a killed build that may not be whole
        title = f"decoding to {shape[1]} x {shape[2]}"
        per_flush = max(1, BYTES_PER_FLUSH // row)
        with counting(title, len(paths), done) as advance, _decoded(paths[done:], shape[1]) as images:
            for image in images:
                stream.write(image.tobytes())
                done += 1
                if done % per_flush == 0 or done == len(paths):
                    stream.flush()
                    os.fsync(stream.fileno())  # the images must be on the disk before the count is
                    _write_json(state_file, {"key": key, "rows": done})
                advance(1)


@contextmanager
def _decoded(paths: list[Path], size: int) -> Iterator[Iterator[np.ndarray]]:
    """The decoded images in order, a few ahead of their use. Pillow lets other threads run while it decodes."""
    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)

    def images() -> Iterator[np.ndarray]:
        ahead: deque[Future[np.ndarray]] = deque()
        for path in paths:
            ahead.append(pool.submit(decode_rgb, path, size))
            if len(ahead) >= 4 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    try:
        yield images()
    finally:
        pool.shutdown(cancel_futures=True)


def _rows_done(state_file: Path, partial: Path, key: str, row: int) -> int:
    try:
        state = json.loads(state_file.read_text(encoding="utf-8"))
        rows = int(state["rows"])
        if state["key"] == key and partial.stat().st_size >= rows * row:
            return rows
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0


def _need_room(folder: Path, shape: tuple[int, ...], done: int, row: int) -> None:
    needed = (shape[0] - done) * row
    free = shutil.disk_usage(folder).free
    what = f"{shape[0] - done:,} images decoded to {shape[1]} x {shape[2]} pixels"
    if needed > free:
        raise InputError(
            f"{what} need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free: make room there, "
            "name another cache folder, or choose a smaller size"
        )
    messages.remark(f"{what} need {needed / 1e9:.1f} GB in {folder}, once")


def _write_npy_header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _seek_past_npy_header(stream: IO[bytes]) -> None:
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
