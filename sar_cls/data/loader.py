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

    Several processes can share the batches of a run: with ``part=(rank, processes)`` a loader yields one part of each batch, the
    parts are consecutive and as even as they can be, and every process draws for the whole batch what a single one would. So all
    of them together see the same images with the same crops, flips and mixup. A sample's mixup partner is often in another
    process's part; it is simply loaded here as well, since every process has all images: that costs a second crop for each sample
    and nothing else, where a loader of whole batches would crop ``processes`` times as many, and an exchange would have to wait.

    Args:
        image_set: the images, on the device to train on, or on the CPU.
        batch_size: samples in a batch, that of all processes together.
        sampler: chooses the images of an epoch (see :mod:`sar_cls.data.samplers`); None takes all of them in order.
        draw: draws the augmentation, e.g. ``Augmentation(padding=4).draw``; None draws nothing.
        seed: of the run.
        drop_last: leave out a last batch that is not full.
        batches_per_epoch: length of an epoch in batches, all of them full; the sampler (or, without one, the images in
            order, round and round) supplies as many samples as that takes. None is one round of the sampler.
        device: where the batches go; None is where the images are.
        part: which part of each batch to yield, and of how many: (rank, processes).

    Yields:
        ``{"inputs": uint8 [B, H, W, 3], "targets": int64 [B], "draws": dict}``, for a set with masks ``targets`` uint8 [B, H, W];
        ``draws`` holds the samples' own draws [B, ...] and the batch's own ones (e.g. "lam", a scalar). All lie on the device.
        Of a part there are also ``"share"``, a number: its samples over those of an even part, 1 but in a last batch that is not
        full; and with mixup the partners behind the samples, 2 B images in all, where "partner" [B] points to.

    Raises:
        ValueError: ``batch_size`` or ``batches_per_epoch`` below 1, no batch at all in an epoch, a batch that cannot be cut into
            equal parts, or a last batch with fewer samples than there are processes.
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
        part: tuple[int, int] = (0, 1),
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
        self.part = (0, 1)
        self.epoch = 0
        if len(self) == 0:
            raise ValueError(
                f"{len(image_set)} images give no full batch of {batch_size}: lower batch_size or keep the last batch"
            )
        self.shared(*part)

    def shared(self, rank: int, processes: int) -> DeviceLoader:
        """Has this very loader yield one part of each batch from now on, see ``part`` above; returns it.

        Raises:
            ValueError: a batch cannot be cut into equal parts, or the last one has fewer samples than there are processes.
        """
        last = self.num_samples % self.batch_size or self.batch_size
        if self.batch_size % processes or last < processes:
            raise ValueError(
                f"batches of {self.batch_size} images, the last of {last}, cannot be shared by {processes} processes: use fewer of "
                "them, or drop_last"
            )
        self.part = (rank, processes)
        return self

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
        return self.batches(range(len(self)))

    def batches(self, steps: range) -> Iterator[dict[str, Any]]:
        """Yields some of the epoch's batches alone."""
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
        partner = draws.per_sample.get("partner") if self.part[1] > 1 else None
        places = [] if partner is None else [partner.to(device) for device in {self.device, self.image_set.device}]
        for step in steps:
            first = step * self.batch_size
            own, share = self._own(first)
            lent = {place.device: first + place[own] for place in places}

            def cut(values: Tensor, own: slice = own, lent: dict[torch.device, Tensor] = lent) -> Tensor:
                return torch.cat([values[own], values[lent[values.device]]]) if lent else values[own]

            batch: dict[str, Any] = {
                "inputs": self._rows(self.image_set.images, cut(order)),
                "targets": self._rows(self.image_set.labels, cut(order)) if targets is None else cut(targets),
                "draws": {name: cut(value) for name, value in per_sample.items()}
                | {name: value[step] for name, value in per_batch.items()},
            }
            if lent:
                number = own.stop - own.start
                batch["draws"]["partner"] = torch.arange(number, 2 * number, device=self.device)
            yield batch if self.part[1] == 1 else batch | {"share": share}

    def _own(self, first: int) -> tuple[slice, float]:
        """Where this process's part of the batch that begins at ``first`` lies in the epoch, and its share of the batch."""
        rank, processes = self.part
        size = min(self.batch_size, self.num_samples - first)
        own = slice(first + rank * size // processes, first + (rank + 1) * size // processes)
        return own, (own.stop - own.start) * processes / size

    def _rows(self, values: Tensor, index: Tensor) -> Tensor:
        rows = values.index_select(0, index)
        if rows.device.type == "cpu" and self.device.type == "cuda":
            rows = rows.pin_memory()  # else the copy would wait
        return rows.to(self.device, non_blocking=True)
