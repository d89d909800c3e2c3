"""Batches from an image set that already lies on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from sar_cls.data.augment import Draws
from sar_cls.data.image_set import ImageSet
from sar_cls.data.masked_set import MaskedImageSet
from sar_cls.data.rng import epoch_generator


class Sampler(Protocol):
    """Chooses the images of an epoch, in order; ``len`` is the length of an epoch (see ``sar_cls.data.samplers``)."""

    def __len__(self) -> int: ...

    def indices(self, epoch: int, seed: int, num_samples: int | None = None) -> Tensor: ...


class Draw(Protocol):
    """Draws the random numbers of an epoch's augmentation (``Augmentation.draw``)."""

    def __call__(
        self, num_samples: int, batch_size: int, image_size: tuple[int, int], generator: torch.Generator
    ) -> Draws: ...


class DeviceLoader:
    """Yields ready batches by indexing tensors on the device: no workers, no copies from the host during an epoch.

    Images too many for the device can stay on the CPU: then each batch is copied, without waiting for it.

    Order and augmentation depend only on (seed, epoch): they are drawn on the CPU when an epoch starts and moved to the
    device once. They are therefore the same on every device, the same when an epoch is repeated, and the same in a run
    that was resumed.

    Args:
        image_set: the images, on the device to train on, or on the CPU.
        batch_size: samples in a batch.
        sampler: chooses the images of an epoch (see :mod:`sar_cls.data.samplers`); None takes all of them in order.
        draw: draws the augmentation, e.g. ``Augmentation(padding=4).draw``; None draws nothing.
        seed: of the run.
        drop_last: leave out a last batch that is not full.
        batches_per_epoch: length of an epoch in batches, all of them full; the sampler (or, without one, the images in
            order, round and round) supplies as many samples as that takes. None is one round of the sampler.
        device: where the batches go; None is where the images are.

    Yields:
        ``{"inputs": uint8 [B, H, W, 3], "targets": int64 [B], "draws": dict}``, for a set with masks ``targets`` uint8 [B, H, W];
        ``draws`` holds the samples' own draws [B, ...] and the batch's own ones (e.g. "lam", a scalar). All lie on the device.

    Raises:
        ValueError: ``batch_size`` or ``batches_per_epoch`` below 1, or no batch at all in an epoch.
    """

    def __init__(
        self,
        image_set: ImageSet | MaskedImageSet,
        batch_size: int,
        sampler: Sampler | None = None,
        *,
        draw: Draw | None = None,
        seed: int = 0,
        drop_last: bool = False,
        batches_per_epoch: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if batches_per_epoch is not None and batches_per_epoch < 1:
            raise ValueError(
                f"batches_per_epoch must be at least 1 (None for one round of the data), got {batches_per_epoch}"
            )
        self.image_set = image_set
        self.batch_size = batch_size
        self.sampler = sampler
        self.draw = draw
        self.seed = seed
        self.drop_last = drop_last
        self.batches_per_epoch = batches_per_epoch
        self.device = image_set.device if device is None else torch.device(device)
        self.epoch = 0
        if len(self) == 0:
            raise ValueError(
                f"{len(image_set)} images give no full batch of {batch_size}: lower batch_size or keep the last batch"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration yields."""
        self.epoch = epoch

    @property
    def num_samples(self) -> int:
        """Samples in an epoch."""
        if self.batches_per_epoch is not None:
            return self.batches_per_epoch * self.batch_size
        n = len(self.image_set) if self.sampler is None else len(self.sampler)
        return n - n % self.batch_size if self.drop_last else n

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.num_samples // self.batch_size)

    def _order(self) -> Tensor:
        if self.sampler is not None:
            wanted = None if self.batches_per_epoch is None else self.num_samples
            return self.sampler.indices(self.epoch, self.seed, wanted)[: self.num_samples]
        return torch.arange(self.num_samples) % len(self.image_set)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        draws = Draws()
        if self.draw is not None:
            generator = epoch_generator(self.seed, self.epoch, "augment")
            draws = self.draw(self.num_samples, self.batch_size, self.image_set.image_size, generator)
        per_sample = {name: value.to(self.device) for name, value in draws.per_sample.items()}
        per_batch = {name: value.to(self.device) for name, value in draws.per_batch.items()}
        order = self._order()
        # Labels of an epoch are few and go to the device at once; masks are as large as the images and go batch by batch.
        has_masks = self.image_set.labels.dim() > 1
        targets = None if has_masks else self.image_set.labels.cpu()[order].to(self.device)
        order = order.to(self.image_set.device)
        for step in range(len(self)):
            batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
            yield {
                "inputs": self._rows(self.image_set.images, order[batch]),
                "targets": self._rows(self.image_set.labels, order[batch]) if targets is None else targets[batch],
                "draws": {name: value[batch] for name, value in per_sample.items()}
                | {name: value[step] for name, value in per_batch.items()},
            }

    def _rows(self, values: Tensor, index: Tensor) -> Tensor:
        rows = values.index_select(0, index)
        if rows.device.type == "cpu" and self.device.type == "cuda":
            rows = rows.pin_memory()  # else the copy would wait
        return rows.to(self.device, non_blocking=True)
