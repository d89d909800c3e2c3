"""CUB-200-2011 (Wah et al. 2011) from its official layout, decoded once into a memory-mapped cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sar_cls.data.archive import check_md5, extract_folder
from sar_cls.data.cache import cache_folder, source_key
from sar_cls.data.image_set import ImageSet
from sar_cls.data.memmap_cache import Split, load_split
from sar_cls.errors import InputError
from sar_cls.official_images import CLASSES

FOLDER = "CUB_200_2011"
ARCHIVE = "CUB_200_2011.tgz"
ARCHIVE_MD5 = "97eceeb196236b17998738112f37df78"
NUM_CLASSES = CLASSES["cub200"]
INDEX_FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
NAMES_SHOWN = 3
AGAIN = "unpack the official archive again"


@dataclass(frozen=True)
class _Image:
    path: str  # below images/
    label: int  # from 0
    is_train: bool


def load_cub(
    split: str,
    data_root: str | Path,
    num_classes: int = NUM_CLASSES,
    size: int = 600,
    cache_dir: str | Path | None = None,
    *,
    verify: bool = False,
    build: bool = True,
) -> ImageSet:
    """Loads CUB-200-2011: 5,994 train and 5,794 test images of 200 bird species.

    The images come as ``size`` x ``size`` pixels, whatever their shape was, as in mmpretrain's recipe
    (``Resize(scale=600)``). They are decoded at the first call into a cache of n * size * size * 3 bytes (train and
    test together: 12.7 GB at 600), and mapped into memory.

    Args:
        split: ``"train"`` or ``"test"``, the official split.
        data_root: the folder ``CUB_200_2011``, the folder that holds it, or the official ``CUB_200_2011.tgz``, which
            is checked by its published md5 and unpacked beside itself.
        num_classes: the first so many classes; fewer than 200 for a partial copy.
        size: pixels of a side.
        cache_dir: where the decoded images are kept; see :func:`sar_cls.data.cache.cache_folder`.
        verify: check the whole content of the cache against its fingerprint, which takes as long as reading it.
        build: False refuses to decode the images where the cache is missing or out of date.

    Returns:
        A set named ``"cub200"`` whose images are a read-only view of the cache; the class names are those of
        ``classes.txt``, such as ``"001.Black_footed_Albatross"``.

    Raises:
        InputError: nothing found, a file or an entry missing, double or out of range, a damaged image, a full disk.
    """
    if split not in ("train", "test"):
        raise InputError(f"unknown split {split!r}: choose train or test")
    if not 2 <= num_classes <= NUM_CLASSES:
        raise InputError(f"{num_classes} classes asked of CUB-200-2011: choose from 2 to {NUM_CLASSES}")
    if size < 1:
        raise InputError(f"an image size of {size} pixels: choose 1 or more, the paper's recipe has 600")
    root = find_root(Path(data_root).expanduser())
    classes, images = read_index(root, num_classes)
    sizes = _file_sizes(root, images)
    # No modification times and no folder: a copy of the same files elsewhere is the same set, and finds the same cache.
    key = source_key((f"{image.path} {image.label} {image.is_train}", sizes[image.path], 0) for image in images)
    train, test = _split(root, "train", images), _split(root, "test", images)
    folder = cache_folder(root) if cache_dir is None else Path(cache_dir).expanduser()
    return load_split(
        split,
        (train, test),
        classes,
        name="cub200",
        key=key,
        size=size,
        file=folder / f"cub200-{num_classes}classes-{size}px-{key[:12]}.npy",
        verify=verify,
        build=build,
    )


def find_root(data_root: Path) -> Path:
    """The folder with ``images.txt``; an archive is unpacked first.

    Raises:
        InputError: it is not there.
    """
    place = find_cub(data_root)
    if not place.is_file():
        return place
    unpacked = place.parent / FOLDER
    if not unpacked.exists():
        check_md5(place, ARCHIVE_MD5)
        extract_folder(place, FOLDER, place.parent)
    return unpacked


def find_cub(data_root: Path) -> Path:
    """The folder with ``images.txt``, or the archive that has it; no image is read.

    Raises:
        InputError: it is not there.
    """
    if data_root.is_file():
        return data_root
    for folder in (data_root, data_root / FOLDER):
        if any((folder / file).is_file() for file in INDEX_FILES):
            return folder
    if (data_root / ARCHIVE).is_file():
        return data_root / ARCHIVE
    raise InputError(
        f"CUB-200-2011 is not under {data_root}: give the folder {FOLDER} with images.txt, the folder that holds it, "
        f"or the official {ARCHIVE}"
    )


def read_index(root: Path, num_classes: int) -> tuple[tuple[str, ...], list[_Image]]:
    """Reads the four text files.

    Returns:
        The names of the first ``num_classes`` classes, and their images in the order of ``images.txt``.

    Raises:
        InputError: see :func:`load_cub`.
    """
    paths, labels, parts, names = (_read_table(root / file) for file in INDEX_FILES)
    if list(names) != [str(number) for number in range(1, len(names) + 1)]:
        raise InputError(f"{root / 'classes.txt'} does not number its classes 1 to {len(names)}: {AGAIN}")
    if len(names) < num_classes:
        raise InputError(
            f"{root / 'classes.txt'} lists {len(names)} classes, not {num_classes}: ask for {len(names)} "
            f"(--classes {len(names)}) or fetch the whole set"
        )
    seen: dict[str, str] = {}
    images = []
    for number, path in paths.items():
        if path in seen:
            raise InputError(f"{root / 'images.txt'} lists {path} twice, as {seen[path]} and as {number}: {AGAIN}")
        seen[path] = number
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InputError(f"{root / 'images.txt'} lists {path}, which lies outside images/: {AGAIN}")
        for file, table in (("image_class_labels.txt", labels), ("train_test_split.txt", parts)):
            if number not in table:
                raise InputError(f"{root / file} has no line for image {number} ({path}): {AGAIN}")
        if labels[number] not in names:
            raise InputError(
                f"{root / 'image_class_labels.txt'} gives image {number} the label {labels[number]}, but classes.txt "
                f"has 1 to {len(names)}: {AGAIN}"
            )
        if parts[number] not in ("0", "1"):
            raise InputError(
                f"{root / 'train_test_split.txt'} has '{parts[number]}' for image {number}, not 0 or 1: {AGAIN}"
            )
        label = int(labels[number]) - 1
        if label < num_classes:
            images.append(_Image(path, label, parts[number] == "1"))
    return tuple(names.values())[:num_classes], images


def _read_table(file: Path) -> dict[str, str]:
    """Lines of a number and a word."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{file} is missing, it belongs to the official folder {FOLDER}: {AGAIN}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}): {AGAIN}") from error
    table: dict[str, str] = {}
    for position, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[0].isdigit():
            raise InputError(f"line {position} of {file} is '{line[:60]}', not a number and a word: {AGAIN}")
        if words[0] in table:
            raise InputError(f"{file} has two lines for number {words[0]}: {AGAIN}")
        table[words[0]] = words[1]
    if not table:
        raise InputError(f"{file} is empty: {AGAIN}")
    return table


def _file_sizes(root: Path, images: list[_Image]) -> dict[str, int]:
    """Bytes of every image file, by its path below images/."""
    sizes: dict[str, int] = {}
    for folder in sorted({str(PurePosixPath(image.path).parent) for image in images}):
        try:
            with os.scandir(root / "images" / folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        sizes[str(PurePosixPath(folder, entry.name))] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
    missing = [image for image in images if str(PurePosixPath(image.path)) not in sizes]
    if missing:
        shown = ", ".join(image.path for image in missing[:NAMES_SHOWN])
        whole = _leading_classes({image.label for image in images} - {image.label for image in missing})
        hint = f", or ask for the first {whole} classes alone (--classes {whole})" if whole >= 2 else ""
        raise InputError(
            f"{len(missing):,} of the {len(images):,} images listed are missing in {root / 'images'} "
            f"({shown}{', ...' if len(missing) > NAMES_SHOWN else ''}): {AGAIN}{hint}"
        )
    return {image.path: sizes[str(PurePosixPath(image.path))] for image in images}


def _leading_classes(whole: set[int]) -> int:
    """How many classes from the first one on have all their images."""
    count = 0
    while count in whole:
        count += 1
    return count


def _split(root: Path, name: str, images: list[_Image]) -> Split:
    own = [image for image in images if image.is_train == (name == "train")]
    empty = sorted({image.label for image in images} - {image.label for image in own})
    if empty:  # said before hours of decoding, not after
        raise InputError(
            f"{root / 'train_test_split.txt'} leaves class {empty[0] + 1} without an image for {name}: {AGAIN}"
        )
    return Split(name, tuple(root / "images" / image.path for image in own), tuple(image.label for image in own))
