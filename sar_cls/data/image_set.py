"""A labelled image set held in memory as one uint8 tensor."""

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


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with their labels, on one device.

    Attributes:
        images: uint8 [n, H, W, 3], RGB.
        labels: int64 [n], in ``[0, num_classes)``, on the same device as ``images``.
        classes: the class names; label ``c`` means ``classes[c]``.
        name: the name of the data set, e.g. ``"cifar100"``.
        split: ``"train"``, ``"test"`` or a name of the caller's own, such as ``"val"``.
        allow_empty_classes: admit classes without an image, as the validation split of a rare class can have.
        order: in which order the images come, in words (see :mod:`sar_cls.official_images`); empty where it does not matter.
            A subset says from which order it was drawn.

    Raises:
        InputError: wrong dtype or shape, no images, fewer than two classes, a label out of range, a class without
            images.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    split: str
    allow_empty_classes: bool = False
    order: str = ""

    def __post_init__(self) -> None:
        what = f"{self.name} ({self.split})"
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.shape[3] != 3:
            shape = list(self.images.shape)
            raise InputError(f"{what}: images must be uint8 [n, H, W, 3], got {self.images.dtype} {shape}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            shape = list(self.labels.shape)
            raise InputError(f"{what}: labels must be int64 [{len(self.images)}], got {self.labels.dtype} {shape}")
        if self.labels.device != self.images.device:
            raise InputError(
                f"{what}: images are on {self.images.device}, labels on {self.labels.device}; use to(device)"
            )
        if self.images.numel() == 0:
            raise InputError(f"{what} holds no images")
        if self.num_classes < 2:
            raise InputError(f"{what} has {self.num_classes} class; a classifier needs at least two")
        lowest, highest = (int(bound) for bound in torch.aminmax(self.labels))
        if lowest < 0 or highest >= self.num_classes:
            raise InputError(f"{what}: labels run from {lowest} to {highest}, but there are {self.num_classes} classes")
        empty = [name for name, count in zip(self.classes, self.counts, strict=True) if count == 0]
        if empty and not self.allow_empty_classes:
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            raise InputError(f"{what}: class {empty[0]!r}{more} has no images; add some or leave the class out")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, height, width, _ = self.images.shape
        return f"ImageSet({self.name}/{self.split}, {n} images {height}x{width}, {self.num_classes} classes)"

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
    def counts(self) -> list[int]:
        """Number of images of each class."""
        return torch.bincount(self.labels, minlength=self.num_classes).tolist()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of shape, class names, images and labels, all in order; the same on every device."""
        digest = hashlib.sha256(json.dumps([list(self.images.shape), list(self.classes)]).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().numpy().astype("<i8").data)
        return digest.hexdigest()

    def with_order(self, order: str) -> ImageSet:
        """The same set, said to be in this order."""
        named = replace(self, order=order)
        if "fingerprint" in self.__dict__:  # the content is the same: do not hash it again
            named.__dict__["fingerprint"] = self.fingerprint
        return named

    def to(self, device: torch.device | str) -> ImageSet:
        """The same set on ``device``; the set itself where it is there already."""
        images = self.images.to(device)
        if images is self.images:
            return self
        moved = replace(self, images=images, labels=self.labels.to(device))
        if "fingerprint" in self.__dict__:  # the content is the same: do not hash it again
            moved.__dict__["fingerprint"] = self.fingerprint
        return moved

    def downscaled(self, factor: int) -> ImageSet:
        """The same images at a ``factor``-th of their side: each pixel the mean of factor x factor pixels, rounded.

        Raises:
            InputError: ``factor`` is no whole number of at least 1, or does not divide both sides.
        """
        height, width = self.image_size
        if not isinstance(factor, int) or factor < 1 or height % factor or width % factor:
            raise InputError(
                f"{self.name}: images of {height}x{width} pixels cannot be made {factor!r} times smaller: "
                "give a whole number that divides both sides"
            )
        blocks = self.images.view(len(self), height // factor, factor, width // factor, factor, 3)
        sums = blocks.sum(dim=(2, 4), dtype=torch.int32)
        means = (sums + factor * factor // 2) // (factor * factor)  # whole numbers: the same on every machine
        return replace(self, images=means.to(torch.uint8))

    def subset(
        self,
        indices: Tensor | np.ndarray | Sequence[int],
        *,
        split: str | None = None,
        allow_empty_classes: bool = False,
    ) -> ImageSet:
        """The images at ``indices`` (integers in ``[0, n)``), in that order, with all classes kept.

        Raises:
            InputError: an index that is no integer or out of range, or a class left without images unless
                ``allow_empty_classes``.
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
            allow_empty_classes=allow_empty_classes,
        )
