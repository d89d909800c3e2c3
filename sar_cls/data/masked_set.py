"""Images with a class for every pixel, held in memory as two uint8 tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sar_cls.data.labelled_images import LabelledImages
from sar_cls.errors import InputError

# The label of pixels that belong to no class, everywhere in this project.
VOID = 255


@dataclass(frozen=True, eq=False, repr=False)
class MaskedImageSet(LabelledImages):
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

    files: tuple[str, ...] = ()
    order: str = ""

    _kind: ClassVar[tuple[str, ...]] = ("masks",)

    def __post_init__(self) -> None:
        self._check("masks", torch.uint8, 3)
        what = f"{self.name} ({self.split})"
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

    @cached_property
    def _histogram(self) -> list[int]:
        return torch.bincount(self.labels.flatten(), minlength=VOID + 1).tolist()

    @property
    def counts(self) -> list[int]:
        """Number of pixels of each class."""
        return self._histogram[: self.num_classes]

    def subset(self, indices: Tensor | np.ndarray | Sequence[int], *, split: str | None = None) -> MaskedImageSet:
        """The images at ``indices`` (integers in ``[0, n)``), in that order, with all classes kept.

        Raises:
            InputError: an index that is no integer or out of range.
        """
        index = self._index(indices)
        return replace(
            self,
            images=self.images.index_select(0, index),
            labels=self.labels.index_select(0, index),
            split=split or self.split,
            files=tuple(self.files[i] for i in index.tolist()) if self.files else (),
        )
