"""What every image set is: images held in memory as one uint8 tensor, each with its labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from sar_cls.errors import InputError

Set = TypeVar("Set", bound="LabelledImages")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one size with their labels, on one device. What a label is, a subclass says and checks.

    Attributes:
        images: uint8 [n, H, W, 3], RGB.
        labels: [n, ...], on the same device as ``images``.
        classes: the class names; label ``c`` means ``classes[c]``.
        name: the name of the data set, e.g. ``"cifar100"``.
        split: ``"train"``, ``"test"`` or a name of the caller's own, such as ``"val"``.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    split: str

    # What a fingerprint names beside shape and classes: sets of two kinds with the same bytes are two.
    _kind: ClassVar[tuple[str, ...]] = ()

    def _check(self, word: str, dtype: torch.dtype, dims: int) -> None:
        """Labels, which an error calls ``word``, must be of ``dtype`` and of the first ``dims`` dimensions of the images.

        Raises:
            InputError: wrong dtype or shape of images or labels, labels on another device, no images.
        """
        what = f"{self.name} ({self.split})"
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.shape[3] != 3:
            found = list(self.images.shape)
            raise InputError(f"{what}: images must be uint8 [n, H, W, 3], got {self.images.dtype} {found}")
        if self.labels.dtype != dtype or self.labels.shape != self.images.shape[:dims]:
            wanted = f"{str(dtype).removeprefix('torch.')} {list(self.images.shape[:dims])}"
            raise InputError(f"{what}: {word} must be {wanted}, got {self.labels.dtype} {list(self.labels.shape)}")
        if self.labels.device != self.images.device:
            raise InputError(
                f"{what}: images are on {self.images.device}, {word} on {self.labels.device}; use to(device)"
            )
        if self.images.numel() == 0:
            raise InputError(f"{what} holds no images")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, height, width, _ = self.images.shape
        content = f"{n} images {height}x{width}, {self.num_classes} classes"
        return f"{type(self).__name__}({self.name}/{self.split}, {content})"

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
    def fingerprint(self) -> str:
        """sha256 (hex) of shape, class names, images and labels, all in order; the same on every device."""
        digest = hashlib.sha256(json.dumps([list(self.images.shape), list(self.classes), *self._kind]).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        labels = self.labels.cpu().contiguous().numpy()
        digest.update(labels.astype(labels.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def _same_content(self: Set, **changes: Any) -> Set:
        """The set with changes that its fingerprint does not see: what was hashed once is not hashed again."""
        changed = replace(self, **changes)
        if "fingerprint" in self.__dict__:
            changed.__dict__["fingerprint"] = self.fingerprint
        return changed

    def to(self: Set, device: torch.device | str) -> Set:
        """The same set on ``device``; the set itself where it is there already."""
        images = self.images.to(device)
        return self if images is self.images else self._same_content(images=images, labels=self.labels.to(device))

    def _index(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """The indices of a subset as int64 [m], on the set's device.

        Raises:
            InputError: an index that is no integer or not in ``[0, n)``.
        """
        index = torch.as_tensor(indices)
        if index.dim() != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise InputError(
                f"subset of {self.name}: indices must be a list of integers, got {index.dtype} {list(index.shape)}"
            )
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < len(self)):
            raise InputError(f"subset of {self.name}: indices must lie in [0, {len(self)})")
        return index.to(self.device, torch.int64)
