"""One door to every image set: by name and split."""

from __future__ import annotations

from pathlib import Path

from sar_cls.data.image_set import ImageSet
from sar_cls.data.masked_set import MaskedImageSet
from sar_cls.errors import InputError
from sar_cls.official_images import CLASSES

IMAGE_SETS = ("digits", "cifar10", "cifar100", "cub200", "folder")
MASKED_SETS = ("camvid",)  # a class for every pixel
SPLITS = ("train", "test", "val")


def load_image_set(
    name: str,
    split: str,
    data_root: str | Path | None = None,
    *,
    download: bool = False,
    cache_dir: str | Path | None = None,
    size: int | None = None,
    num_classes: int | None = None,
    build_cache: bool = True,
) -> ImageSet:
    """Load an image set into memory (CPU).

    Args:
        name: ``"digits"`` (comes with scikit-learn); ``"cifar10"`` or ``"cifar100"`` (the official pickles, or a folder
            of images); ``"cub200"`` (the official folder or archive); ``"folder"`` (any ``train/<class>/*.png``,
            ``test/<class>/*.png`` with images of one size, or of any with ``size``).
        split: ``"train"``, ``"test"``, or ``"val"`` for a folder that has it.
        data_root: where the data lie; "data" by default. For ``"folder"`` the folder that holds ``train`` and ``test``.
        download: fetch a missing CIFAR from its official address into ``data_root``.
        cache_dir: where decoded image folders are kept; by default ``data_root/.sar_cls_cache``, or the user's cache
            directory where that cannot be written.
        size: the side in pixels that images are resized to: for ``"cub200"``, 600 by default; for ``"folder"``, whose
            images are otherwise taken as they are.
        num_classes: for ``"cub200"``, ``"cifar10"`` and ``"cifar100"``, the first so many classes; all of them by default.
        build_cache: for ``"cub200"``, whether its images may be decoded, which takes minutes, where they are not yet.

    Raises:
        InputError: unknown name or split, data missing or damaged; one sentence that says which file and what to do.
    """
    if name not in IMAGE_SETS:
        raise InputError(f"unknown data set {name!r}: choose one of {', '.join(IMAGE_SETS)}")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    if name not in CLASSES and num_classes is not None:
        raise InputError(f"{name} is taken with all its classes: leave num_classes out, it is for CIFAR and cub200")
    if name not in ("cub200", "folder") and size is not None:
        raise InputError(f"{name} has images of one size: leave size out, it is for cub200 and folder")
    if split == "val" and name != "folder":
        raise InputError(f"{name} has no split 'val': choose train or test")
    root = Path("data" if data_root is None else data_root).expanduser()
    cache = None if cache_dir is None else Path(cache_dir).expanduser()
    if name == "digits":
        from sar_cls.data.digits import load_digits

        return load_digits(split)
    if name == "folder":
        from sar_cls.data.cache import cache_folder
        from sar_cls.data.folder import load_folder

        return load_folder(root, split, cache_folder(root, cache), size=size)
    if name == "cub200":
        from sar_cls.data.cub import load_cub

        return load_cub(split, root, num_classes or CLASSES[name], size or 600, cache, build=build_cache)
    from sar_cls.data.cifar import load_cifar

    image_set = load_cifar(name, split, root, download=download, cache_dir=cache)
    return image_set if num_classes is None else image_set.of_first_classes(num_classes)


def load_masked_set(name: str, split: str, data_root: str | Path | None = None) -> MaskedImageSet:
    """Load a set of images with masks into memory (CPU).

    Args:
        name: ``"camvid"``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        data_root: where the data lie; "data" by default.

    Raises:
        InputError: unknown name or split, data missing or damaged; one sentence that says which file and what to do.
    """
    if name not in MASKED_SETS:
        raise InputError(f"unknown set of images with masks {name!r}: choose one of {', '.join(MASKED_SETS)}")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    from sar_cls.data.camvid import load_camvid

    return load_camvid(split, Path("data" if data_root is None else data_root).expanduser())
