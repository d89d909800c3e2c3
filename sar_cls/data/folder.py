"""Image folders: ``train/<class>/*.png`` and ``test/<class>/*.png``, and perhaps ``val/<class>/*.png``.

Where there is no ``test``, ``val`` is what is tested on (as ImageNet is laid out). Images are of one size, or are brought to one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from sar_cls import messages
from sar_cls.data.cache import cache_file, read_cache, source_key, write_cache
from sar_cls.data.counting import counting
from sar_cls.data.decoding import decoding, require_eight_bits
from sar_cls.data.image_set import ImageSet
from sar_cls.errors import InputError
from sar_cls.official_images import BY_NAME, RECOVERED

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FILES_PER_TASK = 64
_NESTED = "/"  # what files in sub-folders are counted under; no ending has it
# Given the files' names "class/file": the positions of the files in the official order, or None where they are not its files.
Arrangement = Callable[[Sequence[str]], "np.ndarray | None"]


def load_folder(
    root: Path,
    split: str,
    cache: Path,
    *,
    name: str = "folder",
    arrangement: Arrangement | None = None,
    size: int | None = None,
) -> ImageSet:
    """Load one split of an image folder, decoded only the first time.

    Labels are the positions of the class folders in alphabetical order. Images come class by class and within a class in
    the order of their names, unless ``arrangement`` knows an official order. Hidden files and files that are no images by
    their extension are passed over, and so is what lies in folders below those of the classes; a line says of how many files but
    hidden ones that is so. Grey images become RGB, transparency is dropped.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``"train"``, ``"test"`` or ``"val"``.
        cache: the folder where the decoded images are kept.
        name: of the resulting set.
        arrangement: looks up the official order of the files, for a data set that has one.
        size: side in pixels; the shorter side of each image is resized to it and the middle taken. None for images that
            are all of one size.

    Returns:
        Its ``order`` is "recovered official order" where ``arrangement`` gave one, else "sorted by name".

    Raises:
        InputError: a folder missing or empty, different classes in train and test, fewer than two classes, an image that
            is damaged or of another size than the first. Folders of all splits are looked at before any image is decoded.
    """
    folders = split_folders(root)
    classes = class_names(root, folders)
    if split not in folders:
        raise InputError(f"{root / split} is not a folder: put the images in {root}/{split}/<class>/")
    files: list[str] = []
    labels: list[int] = []
    facts: list[tuple[str, int, int]] = []
    passed_over: Counter[str] = Counter()
    for label, entry in _entries(folders[split], classes, passed_over, may_lack=split == "val"):
        status = entry.stat()
        files.append(entry.path)
        labels.append(label)
        facts.append((f"{classes[label]}/{entry.name}", status.st_size, status.st_mtime_ns))
    if passed_over.total():
        messages.remark(f"{folders[split]}: {_in_words(passed_over)}")
    positions = None if arrangement is None else arrangement([fact[0] for fact in facts])
    if positions is not None:
        files, labels, facts = ([part[index] for index in positions] for part in (files, labels, facts))
    order = BY_NAME if positions is None else RECOVERED
    key = source_key(facts)
    kept = cache_file(cache, root, name if size is None else f"{name}{size}", split)
    image_set = read_cache(kept, key, name, split, allow_empty_classes=split == "val")
    # A validation split that lacks a class does not show it when that is added to the others: its files stay, its labels do not.
    if image_set is not None and image_set.classes == classes:
        return image_set.with_order(order)
    for other in folders.keys() - {split}:  # before minutes are spent on these
        _entries(folders[other], classes, Counter(), may_lack=other == "val")
    image_set = ImageSet(
        images=torch.from_numpy(decode(files, f"decoding {folders[split]}", size)),
        labels=torch.tensor(labels),
        classes=classes,
        name=name,
        split=split,
        order=order,
        allow_empty_classes=split == "val",
    )
    write_cache(kept, key, image_set)
    return image_set


def split_folders(root: Path) -> dict[str, Path]:
    """Where each split lies: "train", "test" (``val`` where there is no ``test``) and "val" where there are both."""
    folders = {split: root / split for split in ("train", "test")}
    if (root / "val").is_dir():
        folders["val" if folders["test"].is_dir() else "test"] = root / "val"
    return folders


def class_names(root: Path, folders: dict[str, Path]) -> tuple[str, ...]:
    """The class folders of ``root``, the same in all splits, in alphabetical order; ``val`` may lack some."""
    names: dict[str, set[str]] = {}
    for split, folder in folders.items():
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder: an image data set is laid out as "
                f"{root}/train/<class>/*.png and {root}/test/<class>/*.png (or val/ in place of test/)"
            )
        with os.scandir(folder) as entries:
            names[split] = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    if not names["train"] | names["test"]:
        raise InputError(f"{root / 'train'} holds no class folders: put the images in {root}/train/<class>/")
    for split, other in (("train", "test"), ("test", "train"), ("val", "train")):
        lacking = sorted(names.get(split, set()) - names[other])
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise InputError(
                f"class folder {folders[split] / lacking[0]}{more} is missing in {folders[other]}: "
                f"all splits need the same classes"
            )
    if len(names["train"]) < 2:
        raise InputError(f"{root} has one class, {min(names['train'])!r}; a classifier needs at least two")
    return tuple(sorted(names["train"]))


def _entries(
    folder: Path, classes: Sequence[str], passed_over: Counter[str], *, may_lack: bool
) -> list[tuple[int, os.DirEntry[str]]]:
    """Label and file of each image of a split, class by class; ``may_lack`` says whether a class may have none.

    Raises:
        InputError: a class has no images, or none has any.
    """
    found = [
        (label, entry)
        for label, class_name in enumerate(classes)
        for entry in _image_files(folder / class_name, passed_over, may_be_empty=may_lack)
    ]
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(EXTENSIONS)}): add some or remove the folder")
    return found


def _image_files(folder: Path, passed_over: Counter[str], *, may_be_empty: bool = False) -> list[os.DirEntry[str]]:
    """The images of a class by name; other files are counted in ``passed_over``, by their ending."""
    files: list[os.DirEntry[str]] = []
    if may_be_empty and not folder.is_dir():
        return files
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                passed_over[_NESTED] += sum(len(names) for _, _, names in os.walk(entry.path))
            elif entry.name.lower().endswith(EXTENSIONS) and entry.is_file():
                files.append(entry)
            else:
                passed_over[os.path.splitext(entry.name)[1].lower()] += 1
    if not files and not may_be_empty:
        raise InputError(f"class folder {folder} holds no images ({', '.join(EXTENSIONS)}): add some or remove it")
    return sorted(files, key=lambda entry: entry.name)


def _in_words(passed_over: Counter[str]) -> str:
    """``"5 files passed over, 3 with another ending than .png, .jpg, .jpeg, .bmp and .webp (.tif), 2 in folders below a class"``"""
    endings = {ending: number for ending, number in sorted(passed_over.items()) if ending != _NESTED}
    number, parts = passed_over.total(), []
    if endings:
        shown = ", ".join(ending or "no ending" for ending in list(endings)[:3]) + (", ..." if len(endings) > 3 else "")
        known = f"{', '.join(EXTENSIONS[:-1])} and {EXTENSIONS[-1]}"
        parts.append(f"{sum(endings.values()):,} with another ending than {known} ({shown})")
    if passed_over[_NESTED]:
        parts.append(f"{passed_over[_NESTED]:,} in folders below a class")
    return f"{number:,} file{'' if number == 1 else 's'} passed over, {', '.join(parts)}"


def decode(files: Sequence[str], title: str, size: int | None = None) -> np.ndarray:
    """Decode images of one size, or bring them to the side ``size``, in parallel threads, with a progress bar.

    Returns:
        uint8 [n, H, W, 3].

    Raises:
        InputError: damaged images, which are all looked for, or one of another size than the first.
    """
    bad: dict[int, InputError] = {}
    start, first = _first_image(files, size)
    images = np.empty((len(files), *first.shape), np.uint8)

    def decode_some(begin: int) -> int:
        chunk = files[begin : begin + FILES_PER_TASK]
        for position, file in enumerate(chunk, begin):
            try:
                image = _decode_file(file, size)
            except InputError as error:  # they are told together, and not one at each start
                bad[position] = error
                continue
            if image.shape != first.shape:
                raise InputError(
                    f"{file} is {image.shape[1]}x{image.shape[0]} pixels, but {files[start]} is "
                    f"{first.shape[1]}x{first.shape[0]}: bring all images to one size, by --image-size N for example"
                )
            images[position] = image
        return len(chunk)

    with ThreadPoolExecutor() as pool, counting(title, len(files)) as advance:
        try:
            for done in pool.map(decode_some, range(0, len(files), FILES_PER_TASK)):
                advance(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an image of another size ends it: do not decode the rest first
            raise
    if bad:
        raise _all_of(bad, files)
    return images


def _first_image(files: Sequence[str], size: int | None) -> tuple[int, np.ndarray]:
    """The first image that can be decoded, and its position.

    Raises:
        InputError: there is none.
    """
    bad: dict[int, InputError] = {}
    for position, file in enumerate(files):
        try:
            return position, _decode_file(file, size)
        except InputError as error:
            bad[position] = error
    raise _all_of(bad, files)


def _all_of(bad: dict[int, InputError], files: Sequence[str]) -> InputError:
    """One error of several: the first one's sentence, the number of the others and the names of a few."""
    first, *others = sorted(bad)
    if not others:
        return bad[first]
    names = ", ".join(files[position] for position in others[:3]) + (", ..." if len(others) > 3 else "")
    return InputError(f"{bad[first]}; {len(others):,} more of {len(files):,} images cannot be used: {names}")


def _decode_file(file: str, size: int | None = None) -> np.ndarray:
    """uint8 [H, W, 3]; with ``size`` the middle [size, size, 3] of the image whose shorter side has been resized to it."""
    from PIL import Image, ImageOps

    with decoding(file, "replace or remove it"):
        data = Path(file).read_bytes()
        with Image.open(BytesIO(data)) as image:
            image.verify()  # the checksums of a PNG, which decoding alone does not look at; nothing for other formats
        with Image.open(BytesIO(data)) as image:
            require_eight_bits(image, file)
            pixels = image.convert("RGB")
            if size is not None and pixels.size != (size, size):
                pixels = ImageOps.fit(pixels, (size, size), Image.Resampling.BILINEAR)
            return np.asarray(pixels)
