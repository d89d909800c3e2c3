"""Which images an epoch shows, and in which order.

A sampler is built from the labels; its ``indices`` depend on (seed, epoch) alone. They are drawn on the CPU, so they
are the same for every device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sar_cls.data.rng import epoch_generator
from sar_cls.errors import InputError


class _Sampler:
    """Keeps the positions of each class's images side by side.

    Args:
        labels: int64 [n], classes 0 to C-1, each present.

    Raises:
        InputError: no labels, or a class below the highest label without images.
    """

    def __init__(self, labels: Tensor | np.ndarray | Sequence[int]) -> None:
        self.labels = torch.as_tensor(labels).cpu().to(torch.int64)
        if self.labels.dim() != 1 or len(self.labels) == 0:
            raise InputError(f"a sampler needs a list of labels [n], got shape {list(self.labels.shape)}")
        if int(self.labels.min()) < 0:
            raise InputError(f"labels must be 0 or more, got {int(self.labels.min())}")
        self.counts = torch.bincount(self.labels)
        if int(self.counts.min()) == 0:
            empty = int(self.counts.argmin())
            raise InputError(f"class {empty} has no images, so a sampler cannot choose one: leave the class out")
        self._by_class = self.labels.argsort(stable=True)  # positions of class 0, then of class 1, ...
        self._start = self.counts.cumsum(0) - self.counts

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self.labels)

    def indices(self, epoch: int, seed: int, num_samples: int | None = None) -> Tensor:
        """The images of one epoch.

        Args:
            epoch: from 0.
            seed: of the run.
            num_samples: how many; ``len(self)`` by default.

        Returns:
            int64 [num_samples], positions in ``labels``, on the CPU.
        """
        number = len(self) if num_samples is None else num_samples
        return self._draw(epoch, number, epoch_generator(seed, epoch, "order"))

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def _uniform_within(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        """One image of each of the given classes [m], drawn uniformly with replacement."""
        position = torch.rand(len(classes), generator=generator, dtype=torch.float64) * self.counts[classes]
        return self._by_class[self._start[classes] + position.long()]


def _shuffles(size: int, number: int, generator: torch.Generator) -> Tensor:
    """The first ``number`` entries of ``range(size)`` shuffled again and again."""
    rounds = -(-number // size)
    keys = torch.rand(rounds, size, generator=generator, dtype=torch.float64)
    return keys.argsort(dim=1, stable=True).flatten()[:number]


class InstanceBalanced(_Sampler):
    """Every image once an epoch, shuffled; a longer epoch goes on with another shuffle."""

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        return _shuffles(len(self.labels), number, generator)


class EndlessShuffle:
    """All images shuffled, again and again, whatever an epoch's length: the next epoch goes on where the last one stopped.

    For recipes that count iterations. The order does not depend on how many of them lie between two evaluations.

    Args:
        labels: [n] or [n, H, W]; only their number counts.
    """

    def __init__(self, labels: Tensor | np.ndarray | Sequence[int]) -> None:
        self.number = len(labels)

    def __len__(self) -> int:
        return self.number

    def indices(self, epoch: int, seed: int, num_samples: int | None = None) -> Tensor:
        """int64 [num_samples] on the CPU: images ``epoch * num_samples`` and following of the endless order."""
        wanted = self.number if num_samples is None else num_samples
        first = epoch * wanted
        rounds = range(first // self.number, -(-(first + wanted) // self.number))
        shuffled = [torch.randperm(self.number, generator=epoch_generator(seed, part, "order")) for part in rounds]
        start = first - rounds[0] * self.number
        return torch.cat(shuffled)[start : start + wanted]


class ClassAware(_Sampler):
    """Class-aware sampling (Shen et al. 2016; stage 2 of MiSLAS, Zhong et al. 2021).

    The classes are gone through in random order, again and again, with ``samples_per_class`` images at a time; each
    class goes through its own images in the same way, so that none is shown twice before all of its class were shown.

    An epoch is as long as the largest class times the number of classes.

    Args:
        labels: int64 [n].
        samples_per_class: images of a class at a time; the published 4.
    """

    def __init__(self, labels: Tensor | np.ndarray | Sequence[int], samples_per_class: int = 4) -> None:
        super().__init__(labels)
        if samples_per_class < 1:
            raise ValueError(f"samples_per_class must be at least 1, got {samples_per_class}")
        self.samples_per_class = samples_per_class

    def __len__(self) -> int:
        return int(self.counts.max()) * self.num_classes

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        k = self.samples_per_class
        blocks = -(-number // k)
        class_of_block = _shuffles(self.num_classes, blocks, generator)
        wanted = torch.bincount(class_of_block, minlength=self.num_classes) * k
        drawn = [
            start + _shuffles(count, need, generator)
            for start, count, need in zip(self._start.tolist(), self.counts.tolist(), wanted.tolist(), strict=True)
        ]
        # ``drawn`` is class by class; the stable sort gives the places of each class's blocks in the same order.
        places = class_of_block.argsort(stable=True)
        order = torch.empty(blocks, k, dtype=torch.int64)
        order[places] = self._by_class[torch.cat(drawn)].view(blocks, k)
        return order.flatten()[:number]


class ClassBalanced(_Sampler):
    """A class drawn uniformly, then an image of it uniformly, with replacement (Kang et al. 2020, Sec. 3)."""

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        classes = torch.randint(self.num_classes, (number,), generator=generator)
        return self._uniform_within(classes, generator)


class SquareRoot(_Sampler):
    """A class with probability proportional to the root of its count, then an image of it (Kang et al. 2020)."""

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        return self._uniform_within(_classes(self.counts.double().sqrt(), number, generator), generator)


class ProgressivelyBalanced(_Sampler):
    """From instance-balanced to class-balanced over the epochs (Kang et al. 2020, Sec. 3), with replacement.

    In epoch t (from 0) of T a class has probability ``(1 - t/T) n_c / n + (t/T) / C``; from epoch T on ``1 / C``.

    Args:
        labels: int64 [n].
        total_epochs: T.
    """

    def __init__(self, labels: Tensor | np.ndarray | Sequence[int], total_epochs: int) -> None:
        super().__init__(labels)
        if total_epochs < 1:
            raise ValueError(f"total_epochs must be at least 1, got {total_epochs}")
        self.total_epochs = total_epochs

    def class_probabilities(self, epoch: int) -> Tensor:
        """float64 [C], the probability of each class in ``epoch``."""
        progress = min(epoch / self.total_epochs, 1.0)
        return (1 - progress) * self.counts.double() / len(self.labels) + progress / self.num_classes

    def _draw(self, epoch: int, number: int, generator: torch.Generator) -> Tensor:
        return self._uniform_within(_classes(self.class_probabilities(epoch), number, generator), generator)


def _classes(weights: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """int64 [number], classes drawn with probability proportional to ``weights`` [C]."""
    edges = weights.cumsum(0)
    points = torch.rand(number, generator=generator, dtype=torch.float64) * edges[-1]
    return torch.searchsorted(edges, points, right=True).clamp_(max=len(weights) - 1)


SAMPLERS: dict[str, type[_Sampler] | type[EndlessShuffle]] = {
    "instance_balanced": InstanceBalanced,
    "endless_shuffle": EndlessShuffle,
    "class_aware": ClassAware,
    "class_balanced": ClassBalanced,
    "square_root": SquareRoot,
    "progressively_balanced": ProgressivelyBalanced,
}
