"""A labelled image set held in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sar_cls.data.labelled_images import LabelledImages
from sar_cls.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(LabelledImages):
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

    allow_empty_classes: bool = False
    order: str = ""

    def __post_init__(self) -> None:
        self._check("labels", torch.int64, 1)
        what = f"{self.name} ({self.split})"
        if self.num_classes < 2:
            raise InputError(f"{what} has {self.num_classes} class; a classifier needs at least two")
        lowest, highest = (int(bound) for bound in torch.aminmax(self.labels))
        if lowest < 0 or highest >= self.num_classes:
            raise InputError(f"{what}: labels run from {lowest} to {highest}, but there are {self.num_classes} classes")
        empty = [name for name, count in zip(self.classes, self.counts, strict=True) if count == 0]
        if empty and not self.allow_empty_classes:
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            raise InputError(f"{what}: class {empty[0]!r}{more} has no images; add some or leave the class out")

    @cached_property
    def counts(self) -> list[int]:
        """Number of images of each class."""
        return torch.bincount(self.labels, minlength=self.num_classes).tolist()

    def with_order(self, order: str) -> ImageSet:
        """The same set, said to be in this order."""
        return self._same_content(order=order)

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

    def of_first_classes(self, number: int) -> ImageSet:
        """The images of the first ``number`` classes, in their order, and these classes alone.

        Raises:
            InputError: ``number`` is no whole number from 2 to the number of classes.
        """
        if not isinstance(number, int) or isinstance(number, bool) or not 2 <= number <= self.num_classes:
            raise InputError(
                f"num_classes must be a whole number from 2 to the {self.num_classes} of {self.name}, not {number!r}"
            )
        kept = self.labels < number
        return replace(self, images=self.images[kept], labels=self.labels[kept], classes=self.classes[:number])

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
        index = self._index(indices)
        return replace(
            self,
            images=self.images.index_select(0, index),
            labels=self.labels.index_select(0, index),
            split=split or self.split,
            allow_empty_classes=allow_empty_classes,
        )
