"""Images with a class for every pixel, held in memory as two uint8 tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sar_cls.errors import InputError

# The label of pixels that belong to no class, everywhere in this project.
VOID = 255


@dataclass(frozen=True, eq=False)
class MaskedImageSet:
    """Images of one size with their masks, on one device.

    It stands where an :class:`~sar_cls.data.image_set.ImageSet` does; what is counted in images there is counted in pixels here.

    Attributes:
        images: uint8 [n, H, W, 3], RGB.
        labels: uint8 [n, H, W], the class of each pixel in ``[0, num_classes)``, or 255 (:data:`VOID`) for none; on the same
            device as ``images``.
        classes: the class names; label ``c`` means ``classes[c]``.
        name: the name of the data set, e.g. ``"camvid"``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        files: the names of the images, in order; empty where there are none.
        order: as of an ``ImageSet``.

    Raises:
        InputError: wrong dtype or shape, no images, fewer than two classes, a label out of range, a mask set without any
            labelled pixel.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    split: str
    files: tuple[str, ...] = ()
    order: str = ""

    def __post_init__(self) -> None:
        what = f"{self.name} ({self.split})"
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.shape[3] != 3:
            shape = list(self.images.shape)
            raise InputError(f"{what}: images must be uint8 [n, H, W, 3], got {self.images.dtype} {shape}")
        if self.labels.dtype != torch.uint8 or self.labels.shape != self.images.shape[:3]:
            wanted, shape = list(self.images.shape[:3]), list(self.labels.shape)
            raise InputError(f"{what}: masks must be uint8 {wanted}, got {self.labels.dtype} {shape}")
        if self.labels.device != self.images.device:
            raise InputError(
                f"{what}: images are on {self.images.device}, masks on {self.labels.device}; use to(device)"
            )
        if self.images.numel() == 0:
            raise InputError(f"{what} holds no images")
        if not 2 <= self.num_classes <= VOID:
            raise InputError(f"{what} has {self.num_classes} classes; give from 2 to {VOID}")
        if len(self.files) not in (0, len(self)):
            raise InputError(f"{what}: {len(self.files)} file names for {len(self)} images; give one for each, or none")
        wrong = [label for label in range(self.num_classes, VOID) if self._histogram[label]]
        if wrong:
            raise InputError(
                f"{what}: a mask holds label {wrong[0]}, but there are {self.num_classes} classes and void is {VOID}"
            )
        if sum(self.counts) == 0:
            raise InputError(f"{what}: every pixel is void; check the masks")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, height, width, _ = self.images.shape
        return f"MaskedImageSet({self.name}/{self.split}, {n} images {height}x{width}, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def device(self) -> torch.device:
        return self.images.device

    @cached_property
    def _histogram(self) -> list[int]:
        return torch.bincount(self.labels.flatten(), minlength=VOID + 1).tolist()

    @property
    def counts(self) -> list[int]:
        """Number of pixels of each class."""
        return self._histogram[: self.num_classes]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of shape, class names, images and masks, all in order; the same on every device."""
        digest = hashlib.sha256(json.dumps([list(self.images.shape), list(self.classes), "masks"]).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> MaskedImageSet:
        """The same set on ``device``; the set itself where it is there already."""
        images = self.images.to(device)
        if images is self.images:
            return self
        moved = replace(self, images=images, labels=self.labels.to(device))
        if "fingerprint" in self.__dict__:  # the content is the same: do not hash it again
            moved.__dict__["fingerprint"] = self.fingerprint
        return moved

    def subset(self, indices: Tensor | np.ndarray | Sequence[int], *, split: str | None = None) -> MaskedImageSet:
        """The images at ``indices`` (integers in ``[0, n)``), in that order, with all classes kept.

        Raises:
            InputError: an index that is no integer or out of range.
        """
        index = torch.as_tensor(indices)
        if index.dim() != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise InputError(
                f"subset of {self.name}: indices must be a list of integers, got {index.dtype} {list(index.shape)}"
            )
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < len(self)):
            raise InputError(f"subset of {self.name}: indices must lie in [0, {len(self)})")
        index = index.to(self.device, torch.int64)
        return replace(
            self,
            images=self.images.index_select(0, index),
            labels=self.labels.index_select(0, index),
            split=split or self.split,
            files=tuple(self.files[i] for i in index.tolist()) if self.files else (),
        )
