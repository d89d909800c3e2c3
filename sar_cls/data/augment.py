"""Augmentation of a whole batch at once, on the device it lies on.

All random numbers are drawn beforehand on the CPU (:class:`Augmentation`); the functions that use them are pure, so a
training step holds no random state and no branch on a tensor's value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """The random numbers of one epoch.

    Attributes:
        per_sample: name -> Tensor [n, ...], one entry for each sample in the order of the epoch.
        per_batch: name -> Tensor [steps, ...], one entry for each batch.
    """

    per_sample: dict[str, Tensor] = field(default_factory=dict)
    per_batch: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Augmentation:
    """What is drawn at random for each training image.

    Attributes:
        padding: black pixels added at each side before the crop.
        crop_size: side (or (height, width)) of the crop in pixels; None crops to the image's own size.
        flip: probability of a horizontal flip.
        mixup_alpha: parameter of mixup's Beta(alpha, alpha) (Zhang et al. 2018, Sec. 2); None for no mixup.
        views: crops and flips of each image, all drawn by themselves; mixup is the same for all of them.

    Raises:
        ValueError: a value outside its range.
    """

    padding: int = 4
    crop_size: int | tuple[int, int] | None = None
    flip: float = 0.5
    mixup_alpha: float | None = None
    views: int = 1

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding must be 0 or more pixels, got {self.padding}")
        if self.crop_size is not None and min(_pair(self.crop_size)) < 1:
            raise ValueError(f"crop_size must be at least 1 pixel, got {self.crop_size}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability in [0, 1], got {self.flip}")
        if self.mixup_alpha is not None and not (self.mixup_alpha > 0 and math.isfinite(self.mixup_alpha)):
            raise ValueError(f"mixup_alpha must be above 0 (None switches mixup off), got {self.mixup_alpha}")
        if self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}")

    def draw(self, num_samples: int, batch_size: int, image_size: tuple[int, int], generator: torch.Generator) -> Draws:
        """Draw everything for an epoch of ``num_samples`` samples in batches of ``batch_size`` (the last may be short).

        The crop and flip of the i-th sample do not depend on ``batch_size`` nor on whether mixup is on; and nothing that one
        view has depends on whether there are more.

        Args:
            num_samples: n, samples in the epoch.
            batch_size: samples in a batch.
            image_size: (H, W) of the images before padding.
            generator: a CPU generator.

        Returns:
            CPU tensors. ``per_sample``: "crop_offset" int64 [n, 2], row and column of the crop in the padded image, in
            ``[0, H + 2 * padding - crop]``; "flip" bool [n]; with mixup "partner" int64 [n], the position of the
            sample's partner inside its own batch; "crop_offset_2" and "flip_2" of the second view, and so on.
            ``per_batch``: with mixup "lam" float32 [steps].

        Raises:
            ValueError: the crop is larger than the padded image, or ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        per_sample, per_batch = self._draw_view(num_samples, image_size, generator), {}
        if self.mixup_alpha is not None:
            # torch offers no Beta from a given generator, so the generator seeds numpy's.
            seed = int(torch.randint(2**63 - 1, (), generator=generator))
            steps = -(-num_samples // batch_size)
            lam = np.random.default_rng(seed).beta(self.mixup_alpha, self.mixup_alpha, steps).astype(np.float32)
            keys = torch.rand(num_samples, generator=generator, dtype=torch.float64)
            per_sample["partner"] = torch.cat([batch.argsort(stable=True) for batch in _batches(keys, batch_size)])
            per_batch["lam"] = torch.from_numpy(lam)
        for view in range(1, self.views):
            drawn = self._draw_view(num_samples, image_size, generator)
            per_sample |= {of_view(name, view): value for name, value in drawn.items()}
        return Draws(per_sample, per_batch)

    def _draw_view(
        self, num_samples: int, image_size: tuple[int, int], generator: torch.Generator
    ) -> dict[str, Tensor]:
        offsets = []
        for size, crop in zip(image_size, _pair(self.crop_size or image_size), strict=True):
            slack = size + 2 * self.padding - crop
            if slack < 0:
                raise ValueError(
                    f"a crop of {crop} pixels does not fit an image of {size} pixels padded by {self.padding}"
                )
            offsets.append(torch.randint(slack + 1, (num_samples,), generator=generator))
        return {
            "crop_offset": torch.stack(offsets, dim=1),
            "flip": torch.rand(num_samples, generator=generator) < self.flip,
        }


def of_view(name: str, view: int) -> str:
    """Under what name the draws of a view (from 0) are: "flip", "flip_2" ..."""
    return name if view == 0 else f"{name}_{view + 1}"


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _batches(keys: Tensor, batch_size: int) -> list[Tensor]:
    return list(keys.split(batch_size)) if len(keys) else [keys]


def crop_and_flip(
    images: Tensor, offset: Tensor, flip: Tensor, padding: int, crop_size: int | tuple[int, int] | None = None
) -> Tensor:
    """Pad with black, cut a window out of each image, mirror it left to right where asked.

    Args:
        images: uint8 [N, H, W, 3] (any dtype works).
        offset: int64 [N, 2], row and column of the window's upper left corner in the padded image.
        flip: bool [N].
        padding: black pixels at each side.
        crop_size: side, or (height, width), of the window; None for (H, W).

    Returns:
        [N, h, w, 3] of the images' dtype.

    Raises:
        IndexError: on the CPU outside ``torch.compile``, an offset at which the window does not fit. On CUDA it is not checked,
            which would cost more than the crop.
    """
    n, height, width, channels = images.shape
    h, w = _pair(crop_size or (height, width))
    padded = images.contiguous()
    if padding:
        padded = images.new_zeros((n, height + 2 * padding, width + 2 * padding, channels))
        padded[:, padding : padding + height, padding : padding + width] = images
    full_height, full_width = padded.shape[1:3]
    device = images.device
    if device.type == "cpu" and not torch.compiler.is_compiling():
        _check_offsets(offset, full_height - h, full_width - w)
    # Each row of a window is one run of memory, and all possible runs are the rows of an overlapping view: taking whole rows from
    # it is ten times as fast on a CPU as taking pixels.
    number = torch.arange(n, device=device)
    start = (number * full_height + offset[:, 0]) * full_width + offset[:, 1]
    starts = start[:, None] + full_width * torch.arange(h, device=device)
    last = n * full_height * full_width - w
    runs = padded.as_strided((max(last + 1, 0), w * channels), (channels, 1))
    windows = runs.index_select(0, starts.flatten()).view(n, h, w, channels)
    both = torch.cat((windows, windows.flip(2)))
    return both.flatten(1).index_select(0, number + n * flip).view(n, h, w, channels)


def _check_offsets(offset: Tensor, last_row: int, last_column: int) -> None:
    if len(offset) and (int(offset.min()) < 0 or bool((offset > offset.new_tensor([last_row, last_column])).any())):
        raise IndexError(f"a crop offset lies outside 0 to ({last_row}, {last_column}): draw it for these images")


def center_crop(images: Tensor, crop_size: int | tuple[int, int]) -> Tensor:
    """The middle [N, h, w, 3] of images [N, H, W, 3], for evaluation; a view.

    Raises:
        ValueError: the crop is larger than the images.
    """
    height, width = images.shape[1:3]
    h, w = _pair(crop_size)
    if h > height or w > width:
        raise ValueError(f"a crop of {h}x{w} does not fit images of {height}x{width}")
    top, left = (height - h) // 2, (width - w) // 2
    return images[:, top : top + h, left : left + w]


def normalize(images: Tensor, mean: Tensor | Sequence[float], std: Tensor | Sequence[float]) -> Tensor:
    """``(images - mean) / std`` for each channel, on the scale of 0-255, ready for a convolution.

    Args:
        images: uint8 [N, H, W, C].
        mean: [C] floats. Pass tensors on the images' device inside a training step: a list is copied there each time.
        std: [C] floats, above 0.

    Returns:
        float32 [N, C, H, W], channels_last in memory.
    """
    n, height, width, channels = images.shape
    mean = torch.as_tensor(mean, dtype=torch.float32, device=images.device)
    scale = torch.as_tensor(std, dtype=torch.float32, device=images.device).reciprocal()
    # One multiply-add over whole rows of pixels: a broadcast over three channels alone would not be vectorised.
    rows = images.reshape(n, height, width * channels).to(torch.float32, copy=True)
    torch.addcmul((-mean * scale).repeat(width), rows, scale.repeat(width), out=rows)
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def mixup(inputs: Tensor, targets: Tensor, partner: Tensor, lam: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018, Sec. 2) with one weight and one permutation for the batch.

    Args:
        inputs: float [N, ...].
        targets: int64 [N], or soft [N, C].
        partner: int64 [M], the position of the partner of each of the first M samples; M is N where all are mixed.
        lam: scalar tensor in [0, 1], the weight of the sample itself.
        num_classes: C.

    Returns:
        ``lam * inputs[:M] + (1 - lam) * inputs[partner]`` in the memory format of ``inputs``, and the soft targets [M, C]
        mixed likewise (float32; float64 for float64 inputs).

    Raises:
        ValueError: integer inputs.
    """
    if not inputs.is_floating_point():
        raise ValueError(f"mixup needs floating-point inputs, got {inputs.dtype}: normalise the images first")
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    if targets.is_floating_point():
        soft = targets.to(dtype)
    else:
        soft = torch.zeros(len(targets), num_classes, dtype=dtype, device=targets.device)
        soft.scatter_(1, targets[:, None], 1.0)
    number = len(partner)
    mixed = torch.lerp(inputs[partner], inputs[:number], lam.to(inputs.dtype))
    return mixed, torch.lerp(soft[partner], soft[:number], lam.to(dtype))
