"""Decoded image sets kept in one file each, so that an image folder is decoded once.

A cache file holds the images, the source key and the fingerprint. The key (names, sizes and times of the source files)
tells cheaply whether the file is current; the fingerprint (sha256 of the content) is recomputed at every load, so a damaged
file is never trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from sar_cls import messages
from sar_cls.data.image_set import ImageSet
from sar_cls.errors import InputError
from sar_cls.files import replacing

FOLDER_NAME = ".sar_cls_cache"
FORMAT = 1  # raise it when decoding changes: older files are then out of date


def source_key(files: Iterable[tuple[str, int, int]]) -> str:
    """A key (hex) of the source files, each given as (relative name, size in bytes, modification time in ns)."""
    digest = hashlib.sha256(str(FORMAT).encode())
    for entry in files:
        digest.update(repr(entry).encode())
    return digest.hexdigest()


def cache_folder(root: Path, cache_dir: Path | None = None) -> Path:
    """Where the caches of ``root`` lie: ``cache_dir``, else a hidden folder in ``root``, else the user's cache folder.

    Nothing is created yet.

    Raises:
        InputError: ``cache_dir`` is given and cannot be written.
    """
    if cache_dir is not None:
        present = next(folder for folder in (cache_dir, *cache_dir.parents) if folder.exists())
        if not (present.is_dir() and os.access(present, os.W_OK)):
            raise InputError(f"the cache folder {cache_dir} cannot be written: name another")
        return cache_dir
    own = root / FOLDER_NAME
    if os.access(own if own.is_dir() else root, os.W_OK):
        return own
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sar_cls"


def cache_file(folder: Path, root: Path, name: str, split: str) -> Path:
    """The file for one split of the image folder ``root``; two roots never share one."""
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return folder / f"{name}-{split}-{place}.npz"


def read_cache(file: Path, key: str, name: str, split: str, *, allow_empty_classes: bool = False) -> ImageSet | None:
    """The image set kept in ``file``; None where there is none, it is out of date or (one line is logged) damaged."""
    try:
        with np.load(file, allow_pickle=False) as data:
            header = json.loads(str(data["header"]))
            if header["key"] != key:
                return None
            images, labels = data["images"], data["labels"]
        image_set = ImageSet(
            torch.from_numpy(images),
            torch.from_numpy(labels),
            tuple(header["classes"]),
            name,
            split,
            allow_empty_classes=allow_empty_classes,
        )
        if image_set.fingerprint != header["fingerprint"]:
            raise ValueError("its content does not match its fingerprint")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # a damaged zip archive can fail in any way
        messages.remark(f"the cache {file} cannot be used ({type(error).__name__}: {error}): building it again")
        return None
    return image_set


def write_cache(file: Path, key: str, image_set: ImageSet) -> None:
    """Keep ``image_set`` in ``file``, whole or not at all; a folder that cannot be written costs one logged line."""
    header = {"key": key, "fingerprint": image_set.fingerprint, "classes": list(image_set.classes)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                header=np.array(json.dumps(header)),
                images=image_set.images.numpy(),
                labels=image_set.labels.numpy(),
            )
    except OSError as error:
        messages.remark(f"cannot keep the decoded images in {file} ({error}): they will be decoded again next time")
