"""CIFAR-10 and CIFAR-100: the official Python pickles (Krizhevsky 2009), or the same images as a folder of files."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sar_cls.data.archive import md5_of
from sar_cls.data.cache import cache_folder
from sar_cls.data.folder import load_folder
from sar_cls.data.image_set import ImageSet
from sar_cls.data.official_order import official_arrangement
from sar_cls.errors import InputError
from sar_cls.official_images import ARCHIVE, ARCHIVE_MD5, CLASSES, OTHER_PIXELS, RECOVERED, RECOVERED_CIFAR100, UNKNOWN

SIDE = 32


@dataclass(frozen=True)
class _Archive:
    """How one of the two official archives is laid out."""

    title: str
    num_classes: int
    file: str
    folder: str
    files: dict[str, tuple[str, ...]]
    label_key: str
    meta_file: str
    meta_key: str
    size_mb: int
    torchvision_class: str


_ARCHIVES = {
    "cifar10": _Archive(
        title="CIFAR-10",
        num_classes=CLASSES["cifar10"],
        file="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        label_key="labels",
        meta_file="batches.meta",
        meta_key="label_names",
        size_mb=170,
        torchvision_class="CIFAR10",
    ),
    "cifar100": _Archive(
        title="CIFAR-100",
        num_classes=CLASSES["cifar100"],
        file="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        files={"train": ("train",), "test": ("test",)},
        label_key="fine_labels",
        meta_file="meta",
        meta_key="fine_label_names",
        size_mb=169,
        torchvision_class="CIFAR100",
    ),
}


def load_cifar(name: str, split: str, root: Path, *, download: bool = False, cache_dir: Path | None = None) -> ImageSet:
    """Load CIFAR-10 or CIFAR-100 from the first place under ``root`` that holds it.

    Looked for in this order: ``root/cifar-100-python`` and ``root/cifar100/cifar-100-python`` (official pickles; for CIFAR-10
    ``cifar-10-batches-py``), then ``root/<name>/{train,test}`` and ``root/{train,test}`` (image folders). Pickles come first
    because their order is the one that published long tails are drawn from. A folder of CIFAR-100 whose files bear their
    original names is put into that order, see :mod:`sar_cls.data.official_order`. The official class numbers are the
    alphabetical order of the names, so labels agree.

    Args:
        name: ``"cifar10"`` or ``"cifar100"``.
        split: ``"train"`` or ``"test"``.
        root: the data folder.
        download: fetch the official archive into ``root`` (checksum verified) where nothing is found.
        cache_dir: for an image folder, where its images are kept decoded; see :func:`sar_cls.data.cache.cache_folder`.

    Returns:
        Its ``order`` is "official archive" for pickles with the published md5 sums; "recovered official order" for images and
        labels with the fingerprint of that order; for a folder otherwise "sorted by name" or, under the original names,
        "official file names, other pixels"; for other pickles "unknown order".

    Raises:
        InputError: nothing found, a failed download, a damaged file, or data that are not this set.
    """
    archive = _ARCHIVES[name]
    if download and _find(name, root) is None:
        _download(archive, root)
    place = find_cifar(name, root)
    if place in _places(name, root)[0]:
        image_set = _load_pickles(archive, name, split, place)
    else:
        arrangement = partial(official_arrangement, split) if name == "cifar100" else None
        image_set = load_folder(place, split, cache_folder(root, cache_dir), name=name, arrangement=arrangement)
    if image_set.num_classes != archive.num_classes or image_set.image_size != (SIDE, SIDE):
        height, width = image_set.image_size
        raise InputError(
            f"{place} holds {image_set.num_classes} classes of {width}x{height} images, but {archive.title} has "
            f"{archive.num_classes} of {SIDE}x{SIDE}: load other images as data set 'folder'"
        )
    if image_set.order == RECOVERED and not _is_recovered(image_set):
        return image_set.with_order(OTHER_PIXELS)
    return image_set


def find_cifar(name: str, root: Path) -> Path:
    """The folder that :func:`load_cifar` reads; no image is read.

    Raises:
        InputError: there is none.
    """
    place = _find(name, root)
    if place is None:
        archive, (pickles, folders) = _ARCHIVES[name], _places(name, root)
        looked = ", ".join([str(folder) for folder in pickles] + [f"{folder}/{{train,test}}" for folder in folders])
        raise InputError(
            f"{archive.title} is not under {root} (looked for {looked}): put the official folder {archive.folder} there, or "
            f"images as {name}/train/<class>/*.png and {name}/test/<class>/*.png, or let --download fetch "
            f"{archive.file} ({archive.size_mb} MB)"
        )
    return place


def _places(name: str, root: Path) -> tuple[list[Path], list[Path]]:
    """Where pickles may lie, and where folders of images."""
    folder = _ARCHIVES[name].folder
    return [root / folder, root / name / folder], [root / name, root]


def _find(name: str, root: Path) -> Path | None:
    pickles, folders = _places(name, root)
    for folder in pickles:
        if folder.is_dir():
            return folder
    # One split suffices to recognise a folder: the error then names the missing one.
    return next((folder for folder in folders if (folder / "train").is_dir() or (folder / "test").is_dir()), None)


def _is_recovered(image_set: ImageSet) -> bool:
    known = RECOVERED_CIFAR100 if image_set.name == "cifar100" else {}
    return image_set.fingerprint == known.get(image_set.split)


def _order_of_pickles(image_set: ImageSet, files: list[Path]) -> str:
    """Which order the pickles ``files`` are in. Were the recovered order right throughout, both names would fit."""
    published = ARCHIVE_MD5[image_set.name]
    if all(md5_of(file) == published[file.name] for file in files):
        return ARCHIVE
    return RECOVERED if _is_recovered(image_set) else UNKNOWN


def _load_pickles(archive: _Archive, name: str, split: str, folder: Path) -> ImageSet:
    classes = _entry(read_pickle(folder / archive.meta_file), archive.meta_key, folder / archive.meta_file)
    images, labels = [], []
    files = [folder / file_name for file_name in archive.files[split]]
    for file in files:
        content = read_pickle(file)
        data = _entry(content, "data", file)
        targets = _entry(content, archive.label_key, file)
        if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (3 * SIDE * SIDE,)):
            raise InputError(f"{file} holds no 32x32 RGB images: unpack the official archive again")
        if not (isinstance(targets, list) and len(targets) == len(data) and all(type(t) is int for t in targets)):
            raise InputError(
                f"{file} does not hold one label for each of its {len(data)} images: unpack the archive again"
            )
        images.append(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        labels.extend(targets)
    if not (isinstance(classes, list) and all(isinstance(class_name, str) for class_name in classes)):
        raise InputError(
            f"{folder / archive.meta_file} holds no list of class names: unpack the official archive again"
        )
    image_set = ImageSet(
        images=torch.from_numpy(np.concatenate(images)),
        labels=torch.tensor(labels, dtype=torch.int64),
        classes=tuple(classes),
        name=name,
        split=split,
    )
    return image_set.with_order(_order_of_pickles(image_set, files))


def _entry(content: Any, key: str, file: Path) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise InputError(f"{file} is no CIFAR pickle (it has no {key!r}): unpack the official archive again")
    return content[key]


def read_pickle(file: Path) -> Any:
    """Unpickle a file of plain containers, strings, numbers and numpy arrays; nothing else is ever called.

    Raises:
        InputError: the file is missing, truncated, or holds anything else.
    """
    try:
        with file.open("rb") as stream:
            return _PlainUnpickler(stream, encoding="latin1").load()
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing: unpack the official archive again") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(
            f"{file} is truncated or no CIFAR pickle ({type(error).__name__}: {error}): "
            f"unpack the official archive again"
        ) from error


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which Python 3 writes bytes in old pickle protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


# numpy moved this function between versions; asking an array for it gives this version's.
_rebuild_array = cast(tuple, np.empty(0).__reduce__())[0]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _rebuild_array,
    ("numpy._core.multiarray", "_reconstruct"): _rebuild_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1_bytes,
}


class _PlainUnpickler(pickle.Unpickler):
    """Admits what rebuilds a numpy array and nothing else, since a pickle can otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _download(archive: _Archive, root: Path) -> None:
    """Fetch and unpack the official archive into ``root``; torchvision verifies its checksum."""
    from sar_cls.torchvision_shim import import_torchvision

    import_torchvision()
    import torchvision.datasets
    from torchvision.datasets.utils import download_and_extract_archive

    source = getattr(torchvision.datasets, archive.torchvision_class)
    try:
        download_and_extract_archive(source.url, str(root), filename=source.filename, md5=source.tgz_md5)
    except Exception as error:  # network, disk, checksum, damaged archive
        raise InputError(
            f"could not download {source.filename} from {source.url} to {root} ({error}): "
            f"fetch it by other means and unpack it there"
        ) from error
