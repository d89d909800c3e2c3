"""Long-tailed subsets and validation splits: which images are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sar_cls.errors import InputError

PROFILES = ("exponential", "step")


def longtail_counts(n_max: int, num_classes: int, imbalance_factor: float, profile: str = "exponential") -> list[int]:
    """Images kept of each class (Cao et al. 2019, Sec. 4.1; the CIFAR-LT of MiSLAS).

    Args:
        n_max: images of the largest class, class 0.
        num_classes: C, at least 2.
        imbalance_factor: IF >= 1, the largest count over the smallest.
        profile: ``"exponential"``: class c keeps ``int(n_max * (1 / IF) ** (c / (C - 1)))``; ``"step"`` (Buda et al.
            2018): the first ``C // 2`` classes keep ``n_max``, the others ``int(n_max / IF)``.

    Returns:
        C counts, each at least 1. 500 images of 100 classes give 10,847 / 12,608 / 19,573 in all at IF = 100 / 50 / 10.

    Raises:
        InputError: an unknown profile, fewer than two classes, no images, a factor below 1 or so high that a class is
            empty.
    """
    if profile not in PROFILES:
        raise InputError(f"unknown long-tail profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if num_classes < 2:
        raise InputError(f"a long tail needs at least two classes, got {num_classes}")
    if n_max < 1:
        raise InputError(f"the largest class of a long tail needs at least one image, got {n_max}")
    if not imbalance_factor >= 1:  # NaN too
        raise InputError(f"the imbalance factor must be 1 or more, got {imbalance_factor}")
    counts = _counts(n_max, num_classes, imbalance_factor, profile)
    if counts[-1] < 1:
        largest = next(
            factor for factor in range(n_max, 0, -1) if _counts(n_max, num_classes, factor, profile)[-1] >= 1
        )
        raise InputError(
            f"an imbalance factor of {imbalance_factor:g} leaves a class without images: "
            f"with {n_max} images in the largest class of the tail use {largest} at most"
        )
    return counts


def _counts(n_max: int, num_classes: int, imbalance_factor: float, profile: str) -> list[int]:
    if profile == "step":
        head = num_classes // 2
        return [n_max] * head + [int(n_max / imbalance_factor)] * (num_classes - head)
    return [int(n_max * (1 / imbalance_factor) ** (c / (num_classes - 1))) for c in range(num_classes)]


def longtail_indices(
    labels: Tensor | np.ndarray | Sequence[int], imbalance_factor: float, seed: int = 0, profile: str = "exponential"
) -> np.ndarray:
    """Draw a long-tailed subset as published (Cao et al. 2019; MiSLAS).

    Class by class, the positions of its images are shuffled with numpy's legacy generator, seeded once, and the first
    ``n_c`` are kept. numpy's global generator is left alone, but the draws are those of ``np.random.seed(seed)``.

    ``n_max`` is the size of the smallest class: 500 for CIFAR-100, as published. So every class can give its count, and
    the largest class of the subset holds the same images whatever the factor.

    Args:
        labels: int64 [n], classes 0 to C-1, each present.
        imbalance_factor: see :func:`longtail_counts`.
        seed: in [0, 2**32).
        profile: see :func:`longtail_counts`.

    Returns:
        int64 positions in ``labels``, class by class in the order drawn.

    Raises:
        InputError: as :func:`longtail_counts`, or a class without images. Where the classes already differ in size, the
            sentence says so and how to use them as they are.
    """
    target = _labels(labels)
    available = np.bincount(target)
    if len(available) >= 2 and available.min() == 0:
        raise InputError(
            f"class {int(available.argmin())} has no images, so no long tail can be drawn: leave the class out"
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"the seed of a long-tailed subset must lie in [0, 2**32), got {seed}")
    try:
        counts = longtail_counts(int(available.min()), len(available), imbalance_factor, profile)
    except InputError as error:
        if len(available) < 2 or available.min() == available.max():
            raise
        raise InputError(
            f"{error}; no class gives more images than the smallest has ({available.min()}, the largest has "
            f"{available.max()}): --imbalance none takes the classes as they are"
        ) from error
    generator = np.random.RandomState(seed)
    kept = []
    for c, count in enumerate(counts):
        positions = np.flatnonzero(target == c)
        generator.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept).astype(np.int64)


def stratified_split(
    labels: Tensor | np.ndarray | Sequence[int], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split off a validation set with about the same share of every class.

    Of a class with n images ``round(fraction * n)`` are held out, but at least one where the class has two images or
    more, and never all of them. A class with a single image keeps it for training and has none in the validation set.

    Args:
        labels: int64 [n].
        fraction: share held out, in (0, 1).
        seed: 0 or more; the same seed gives the same split.

    Returns:
        (train, validation): int64 positions in ``labels``, each ascending; together every position once.

    Raises:
        InputError: a fraction outside (0, 1), or no class with two images.
    """
    if not 0 < fraction < 1:  # NaN too
        raise InputError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    if seed < 0:
        raise InputError(f"the seed of a validation split must be 0 or more, got {seed}")
    target = _labels(labels)
    generator = np.random.default_rng(seed)
    train, held_out = [], []
    for c in np.unique(target):
        positions = generator.permutation(np.flatnonzero(target == c))
        count = min(max(1, math.floor(fraction * len(positions) + 0.5)), len(positions) - 1)
        held_out.append(positions[:count])
        train.append(positions[count:])
    if not any(len(part) for part in held_out):
        raise InputError("no class has two images, so no validation split can be held out: do without one")
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(held_out))


def _labels(labels: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu" or array.min() < 0:
        raise InputError(f"labels must be a list of integers of 0 or more, got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)
