"""Augmentation of images together with their masks: a whole batch at once, on the device it lies on.

As for classification (:mod:`sar_cls.data.augment`) all random numbers are drawn beforehand on the CPU, and what uses them is
pure. The recipe is that of mmseg's training pipelines: random scale, random crop, horizontal flip, photometric distortion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sar_cls.data.augment import Draws
from sar_cls.data.masked_set import VOID

# mmseg's PhotoMetricDistortion: brightness by up to 32 of 255, contrast and saturation by a factor, hue by 18 of 180.
BRIGHTNESS = 32.0
FACTORS = (0.5, 1.5)
HUE = 18 / 180
# How often mmseg's RandomCrop draws another window for one that is nearly all of one class.
TRIES = 10


@dataclass(frozen=True)
class MaskAugmentation:
    """What is drawn at random for each training image and its mask.

    Attributes:
        crop_size: (height, width) of the crop in pixels.
        scale: range of the factor by which an image is resized before the crop, drawn uniformly.
        flip: probability of a horizontal flip.
        photometric: whether brightness, contrast, saturation and hue are changed, each with probability one half.
        cat_max_ratio: share of the window's labelled pixels that no class may reach; where one does, or there is but one, another
            window is taken, up to ten times (mmseg's ``RandomCrop``, 0.75 in its recipes). 1 takes the first window as it is.

    Raises:
        ValueError: a value outside its range.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    photometric: bool = True
    cat_max_ratio: float = 1.0

    def __post_init__(self) -> None:
        if len(self.crop_size) != 2 or min(self.crop_size) < 1:
            raise ValueError(f"crop_size must be height and width of at least 1 pixel, got {self.crop_size}")
        if not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] and math.isfinite(self.scale[1])):
            raise ValueError(f"scale must be two factors above 0, the smaller one first, got {self.scale}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability in [0, 1], got {self.flip}")
        if not 0 < self.cat_max_ratio <= 1:
            raise ValueError(f"cat_max_ratio is a share in (0, 1], got {self.cat_max_ratio}")

    def draw(self, num_samples: int, batch_size: int, image_size: tuple[int, int], generator: torch.Generator) -> Draws:
        """Draw everything for ``num_samples`` samples; what a sample gets does not depend on ``batch_size``.

        Returns:
            CPU tensors, all ``per_sample``: "scale" float32 [n]; "place" float32 [n, 2] in [0, 1), where in its range the crop
            begins; "flip" bool [n]; with ``photometric`` "photometric" float32 [n, 5]: what is added to all channels, the factors
            of contrast and saturation, the turn of the hue, and whether contrast comes first (1) or last (0). What is switched
            off for a sample is 0 or 1 there. With ``cat_max_ratio`` below 1 "other_places" float32 [n, 10, 2]: the windows that
            are tried after the first; all else is drawn as without it.

        Raises:
            ValueError: the crop is larger than the largest scaled image.
        """
        for size, crop in zip(image_size, self.crop_size, strict=True):
            if crop > round(size * self.scale[1]):
                raise ValueError(
                    f"a crop of {crop} pixels does not fit an image of {size} pixels scaled by at most {self.scale[1]:g}"
                )
        low, high = self.scale
        per_sample = {
            "scale": torch.rand(num_samples, generator=generator) * (high - low) + low,
            "place": torch.rand(num_samples, 2, generator=generator),
            "flip": torch.rand(num_samples, generator=generator) < self.flip,
        }
        if self.photometric:
            value = torch.rand(num_samples, 4, generator=generator)
            switched_on = torch.rand(num_samples, 4, generator=generator) < 0.5
            contrast_first = torch.rand(num_samples, generator=generator) < 0.5
            low, high = FACTORS
            columns = torch.stack(
                [
                    (2 * value[:, 0] - 1) * BRIGHTNESS,
                    low + (high - low) * value[:, 1],
                    low + (high - low) * value[:, 2],
                    (2 * value[:, 3] - 1) * HUE,
                ],
                dim=1,
            )
            nothing = torch.tensor([0.0, 1.0, 1.0, 0.0])
            chosen = torch.where(switched_on, columns, nothing)
            per_sample["photometric"] = torch.cat([chosen, contrast_first[:, None].float()], dim=1)
        if self.cat_max_ratio < 1:
            per_sample["other_places"] = torch.rand(num_samples, TRIES, 2, generator=generator)
        return Draws(per_sample)


def choose_place(
    masks: Tensor, scale: Tensor, place: Tensor, other_places: Tensor, crop_size: tuple[int, int], cat_max_ratio: float
) -> Tensor:
    """The first window of each image in which at least two classes are, and none is a share of ``cat_max_ratio`` or more.

    As in mmseg's ``RandomCrop``, ``place`` and all but the last of ``other_places`` are looked at in turn, and where none will
    do, the last one is taken unseen. All windows are counted, whatever the first one holds: nothing waits for the device.

    Args:
        masks: uint8 [N, H, W].
        scale: float [N].
        place: float [N, 2], as for :func:`scale_crop_flip`.
        other_places: float [N, T, 2].
        crop_size: (h, w).
        cat_max_ratio: in (0, 1).

    Returns:
        float [N, 2].
    """
    n, height, width = masks.shape
    places = torch.cat([place[:, None], other_places], dim=1)
    chosen, found = places[:, -1], torch.zeros(n, dtype=torch.bool, device=masks.device)
    ones = torch.ones((), dtype=torch.int32, device=masks.device)
    for candidate in places[:, :-1].unbind(dim=1):
        rows, row_inside = _positions(height, crop_size[0], scale, candidate[:, 0], None)
        columns, column_inside = _positions(width, crop_size[1], scale, candidate[:, 1], None)
        row, column = rows.long().clamp_(0, height - 1), columns.long().clamp_(0, width - 1)
        index = (row[:, :, None] * width + column[:, None, :]).flatten(1)
        inside = (row_inside[:, :, None] & column_inside[:, None, :]).flatten(1)
        labels = torch.where(inside, masks.flatten(1).gather(1, index), VOID).long()
        counts = ones.new_zeros(n, VOID + 1).scatter_add_(1, labels, ones.expand_as(labels))[:, :VOID]
        largest = counts.amax(dim=1).double() / counts.sum(dim=1)  # nan, and so no fit, where all is void
        fits = ((counts > 0).sum(dim=1) > 1) & (largest < cat_max_ratio)
        chosen = torch.where((fits & ~found)[:, None], candidate, chosen)
        found = found | fits
    return chosen


def scale_crop_flip(
    images: Tensor, masks: Tensor, scale: Tensor, place: Tensor, flip: Tensor, crop_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Resizes each image by its factor, cuts a window out of it and mirrors it left to right where asked; so its mask.

    The scaled image is never made: each pixel of the window is looked up in the original, as a resize with half-pixel centres and
    without antialiasing would have it (bilinear for images, the nearest pixel for masks). Where the scaled image is smaller
    than the window, it lies in the window's upper left corner (upper right after a flip), and the rest is void.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W].
        scale: float [N].
        place: float [N, 2] in [0, 1): row and column of the window, as a share of the positions that there are.
        flip: bool [N].
        crop_size: (h, w).

    Returns:
        Images float32 [N, 3, h, w] on the scale 0-255, masks int64 [N, h, w], and where there is an image: bool [N, h, w].
    """
    n, height, width, _ = images.shape
    rows, row_inside = _positions(height, crop_size[0], scale, place[:, 0], None)
    columns, column_inside = _positions(width, crop_size[1], scale, place[:, 1], flip)
    inside = row_inside[:, :, None] & column_inside[:, None, :]
    # grid_sample wants positions from -1 to 1, from edge to edge.
    grid = torch.stack(
        [
            (2 * columns[:, None, :] / width - 1).expand(inside.shape),
            (2 * rows[:, :, None] / height - 1).expand(inside.shape),
        ],
        dim=-1,
    )
    pixels = images.permute(0, 3, 1, 2).float()
    windows = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    row, column = rows.long().clamp_(0, height - 1), columns.long().clamp_(0, width - 1)
    number = torch.arange(n, device=images.device)[:, None, None]
    labels = masks[number, row[:, :, None], column[:, None, :]].long()
    return windows, torch.where(inside, labels, VOID), inside


def _positions(size: int, crop: int, scale: Tensor, place: Tensor, flip: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where in an original of ``size`` pixels the ``crop`` pixels of each window lie [N, crop], and whether they lie inside."""
    scaled = (size * scale).round().clamp_(min=1)
    first = (place * ((scaled - crop).clamp_(min=0) + 1)).floor()
    steps = torch.arange(crop, device=scale.device, dtype=scale.dtype)
    position = first[:, None] + steps + 0.5
    if flip is not None:
        position = torch.where(flip[:, None], position.flip(1), position)
    return position * (size / scaled)[:, None], position < scaled[:, None]


def photometric_distortion(images: Tensor, values: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue of each image, as mmseg's PhotoMetricDistortion changes them.

    Brightness first, then contrast (or last), saturation and hue in HSV; after each of them the values are cut to 0-255.

    Args:
        images: float [N, 3, h, w], RGB on the scale 0-255.
        values: float [N, 5], see :meth:`MaskAugmentation.draw`.

    Returns:
        float [N, 3, h, w].
    """
    brightness, contrast, saturation, hue, contrast_first = (
        column.view(-1, 1, 1, 1) for column in values.unbind(dim=1)
    )
    one = torch.ones_like(contrast)
    images = (images + brightness).clamp(0, 255)
    images = (images * torch.where(contrast_first > 0, contrast, one)).clamp(0, 255)
    images = _saturation_and_hue(images, saturation, hue)
    return (images * torch.where(contrast_first > 0, one, contrast)).clamp(0, 255)


def _saturation_and_hue(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Saturation times a factor (at most 1), hue turned by a share of the circle; in HSV, value stays as it is."""
    red, green, blue = images.unbind(dim=1)
    value, least = images.amax(dim=1), images.amin(dim=1)
    chroma = value - least
    some = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixth = torch.where(
        value == red,
        (green - blue) / some,
        torch.where(value == green, (blue - red) / some + 2, (red - green) / some + 4),
    )
    sixth = sixth + 6 * hue[:, 0]
    chroma = torch.minimum(chroma * saturation[:, 0], value)
    # 5, 3 and 1 for red, green and blue; a list would be copied from the host, which waits for the device.
    offsets = torch.arange(5, 0, -2, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    k = torch.remainder(sixth[:, None] + offsets, 6)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
