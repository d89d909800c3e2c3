"""One door to every image set: by name and split."""

from __future__ import annotations

from pathlib import Path

from sar_cls.data.image_set import ImageSet
from sar_cls.errors import InputError

IMAGE_SETS = ("digits", "cifar10", "cifar100", "folder")
SPLITS = ("train", "test")


def load_image_set(
    name: str,
    split: str,
    data_root: str | Path | None = None,
    *,
    download: bool = False,
    cache_dir: str | Path | None = None,
) -> ImageSet:
    """Load an image set into memory (CPU).

    Args:
        name: ``"digits"`` (comes with scikit-learn); ``"cifar10"`` or ``"cifar100"`` (the official pickles, or a folder
            of images); ``"folder"`` (any ``train/<class>/*.png``, ``test/<class>/*.png`` with images of one size).
        split: ``"train"`` or ``"test"``.
        data_root: where the data lie; "data" by default. For ``"folder"`` the folder that holds ``train`` and ``test``.
        download: fetch a missing CIFAR from its official address into ``data_root``.
        cache_dir: where decoded image folders are kept; by default ``data_root/.sar_cls_cache``, or the user's cache
            directory where that cannot be written.

    Raises:
        InputError: unknown name or split, data missing or damaged; one sentence that says which file and what to do.
    """
    if name not in IMAGE_SETS:
        raise InputError(f"unknown data set {name!r}: choose one of {', '.join(IMAGE_SETS)}")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    root = Path("data" if data_root is None else data_root).expanduser()
    cache = None if cache_dir is None else Path(cache_dir).expanduser()
    if name == "digits":
        from sar_cls.data.digits import load_digits

        return load_digits(split)
    if name == "folder":
        from sar_cls.data.cache import cache_folder
        from sar_cls.data.folder import load_folder

        return load_folder(root, split, cache_folder(root, cache))
    from sar_cls.data.cifar import load_cifar

    return load_cifar(name, split, root, download=download, cache_dir=cache)
