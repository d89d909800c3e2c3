"""What a net for segmentation is worth on test images: IoU and accuracy of each class, their means, groups of classes.

All of it follows from one confusion matrix [C, C] that is counted on the device, batch by batch, so that no logits are kept. All
figures are in percent. A class is judged by all pixels of the test set at once, as mmseg and the benchmarks do, not by image.

A class without a pixel in the truth and in the predictions has no IoU (0 / 0). Nothing is NaN: its figure is ``None``, it is named
in ``undefined_classes``, and means are over the others. A class that is predicted somewhere and is nowhere has IoU 0, which counts
in the mean as in mmseg; it has no accuracy, and is named in ``absent_classes``, as every class without a true pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sar_cls.dense import resize_labels
from sar_cls.errors import InputError
from sar_cls.whole_batch import total

ADE20K_GROUPS: dict[str, range] = {
    "head_index": range(0, 20),
    "body_index": range(20, 75),
    "tail_index": range(75, 150),
}
"""The published groups of ADE20K's 150 classes, which are sorted by falling frequency (Zhang et al. 2021, DisAlign; the SAR
paper's Tab. 3)."""

HEAD_SHARE, BODY_SHARE = 20 / 150, 75 / 150
"""Which classes are head and body by pixel frequency: the shares of ADE20K's groups, carried over to other numbers of classes."""


class ConfusionMatrix:
    """Counts of (true class, predicted class) over the pixels that have a class; streaming, on the device.

    Args:
        num_classes: C, at least 2.
        ignore_index: label of pixels without a class.
        device: where the counts are kept; predictions and labels must be there.

    Raises:
        InputError: ``num_classes`` below 2, or an ``ignore_index`` that is a class.

    Example:
        >>> confusion = ConfusionMatrix(19)
        >>> for images, masks in test_loader:
        ...     confusion.update_from_logits(model(images), masks)
        >>> evaluate_segmentation(confusion.counts, train_pixels)["miou"]
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, device: torch.device | str = "cpu") -> None:
        if num_classes < 2:
            raise InputError(f"num_classes is {num_classes}: give at least 2")
        if 0 <= ignore_index < num_classes:
            raise InputError(f"ignore_index {ignore_index} is one of the {num_classes} classes: give another")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        # One more bin, for ignored pixels, keeps shapes fixed; one more behind it for labels and predictions out of range,
        # which are counted on the device and refused when the counts are read.
        self._bins = torch.zeros(num_classes**2 + 2, dtype=torch.int64, device=device)

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Adds a batch. Nothing waits for the device.

        Args:
            predictions: classes, integers [N, h, w] (or any shape).
            labels: true classes, integers of the same shape, ``ignore_index`` where a pixel has none.

        Raises:
            InputError: other shapes, or no integers.
        """
        if predictions.shape != labels.shape or predictions.is_floating_point() or labels.is_floating_point():
            raise InputError(
                f"predictions are {predictions.dtype} {list(predictions.shape)} and labels {labels.dtype} "
                f"{list(labels.shape)}: give integers of one shape"
            )
        classes, ignored = self.num_classes, self.num_classes**2
        truth, guess = labels.reshape(-1).long(), predictions.reshape(-1).long()
        in_range = (truth >= 0) & (truth < classes) & (guess >= 0) & (guess < classes)
        index = (truth * classes + guess).masked_fill(~in_range, ignored + 1)
        index = index.masked_fill(truth == self.ignore_index, ignored)
        # bincount would do the same, but on CUDA it waits to learn its largest value.
        self._bins.scatter_add_(0, index, torch.ones_like(index))

    def update_from_logits(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch of logits [N, C, H, W] with labels [N, h, w].

        Logits of another resolution are brought to the labels' by bilinear interpolation (``align_corners=False``), as mmseg
        does before it takes the largest; one image after the other, so that at most one image's logits exist at that size.

        Raises:
            InputError: shapes that do not fit.
        """
        if (
            logits.dim() != 4
            or logits.shape[1] != self.num_classes
            or labels.shape[:1] != logits.shape[:1]
            or labels.dim() != 3
        ):
            raise InputError(
                f"logits have shape {list(logits.shape)} and labels {list(labels.shape)}: give [N, {self.num_classes}, H, W] "
                "and [N, h, w]"
            )
        for image, truth in zip(logits, labels, strict=True):
            self.update(predict(image.unsqueeze(0), (truth.shape[0], truth.shape[1])).squeeze(0), truth)

    def merge(self, other: ConfusionMatrix | Tensor) -> None:
        """Adds the counts of another matrix of the same classes, of another process for example.

        Raises:
            InputError: another number of classes.
        """
        bins = other._bins if isinstance(other, ConfusionMatrix) else torch.as_tensor(other)
        if not isinstance(other, ConfusionMatrix) and bins.shape == (self.num_classes, self.num_classes):
            bins = torch.cat([bins.reshape(-1), bins.new_zeros(2)])
        if bins.shape != self._bins.shape:
            raise InputError(f"the counts to add are not those of {self.num_classes} classes: give one of the same")
        self._bins += bins.to(self._bins)

    def sum_over_processes(self) -> None:
        """Adds the counts of all processes of a distributed run; each of them has the whole afterwards."""
        self._bins = total(self._bins)

    @property
    def counts(self) -> np.ndarray:
        """int64 [C, C], row = true class, column = predicted class. Waits for the device.

        Raises:
            InputError: some label or prediction was no class and not ``ignore_index``.
        """
        bins = self._bins.cpu().numpy()
        if bins[-1]:
            raise InputError(
                f"{bins[-1]} pixels have a label or a prediction outside 0 to {self.num_classes - 1} that is not "
                f"{self.ignore_index} either: check the masks and the number of classes"
            )
        return bins[:-2].reshape(self.num_classes, self.num_classes)

    @property
    def ignored(self) -> int:
        """Pixels without a class so far. Waits for the device."""
        return int(self._bins[-2])

    def reset(self) -> None:
        """All counts are 0 again."""
        self._bins.zero_()


def predict(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The likeliest class [N, h, w] int64 of logits [N, C, H, W] at another resolution (bilinear, ``align_corners=False``)."""
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = torch.nn.functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    return logits.argmax(dim=1)


def count_pixels(
    labels: Tensor, num_classes: int, ignore_index: int = 255, size: tuple[int, int] | None = None
) -> Tensor:
    """Pixels of each class in a batch of label maps, int64 [C] on their device: summed over a training set, its frequencies.

    Args:
        labels: [N, h, w] integers.
        num_classes: C.
        ignore_index: label of pixels without a class. Other labels outside the classes are not counted either.
        size: count at this resolution (nearest neighbour), None: as they are.
    """
    flat = (labels if size is None else resize_labels(labels.long(), size)).reshape(-1).long()
    counted = (flat >= 0) & (flat < num_classes) & (flat != ignore_index)
    index = flat.masked_fill(~counted, num_classes)
    return torch.zeros(num_classes + 1, dtype=torch.int64, device=flat.device).scatter_add_(
        0, index, torch.ones_like(index)
    )[:num_classes]


def frequency_groups(train_pixels: Sequence[int] | np.ndarray | Tensor) -> dict[str, np.ndarray]:
    """Head, body and tail classes [int64] by their number of training pixels, most frequent first.

    The shares are those of ADE20K's published groups (20, 55 and 75 of 150 classes), rounded, with at least one class in head
    and tail; equal numbers go by the class's index. On ADE20K's own frequencies the groups are nearly the published ones, which
    go by index.
    """
    pixels = np.asarray(train_pixels.cpu() if isinstance(train_pixels, Tensor) else train_pixels)
    order = np.argsort(-pixels.astype(np.float64), kind="stable")
    head = max(1, round(HEAD_SHARE * len(order)))
    body = min(max(head, round(BODY_SHARE * len(order))), len(order) - 1)
    return {"head": np.sort(order[:head]), "body": np.sort(order[head:body]), "tail": np.sort(order[body:])}


def evaluate_segmentation(
    confusion: np.ndarray | Tensor,
    train_pixels: Sequence[int] | np.ndarray | Tensor | None = None,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of a confusion matrix, ready for JSON.

    With n_cd pixels of class c predicted as d: ``IoU_c = n_cc / (sum_d n_cd + sum_d n_dc - n_cc)``, ``accuracy_c = n_cc /
    sum_d n_cd`` (Long et al. 2015, Sec. 5; mmseg's ``IoUMetric``).

    Args:
        confusion: counts [C, C], row = true class.
        train_pixels: training pixels of each class [C]; without them the groups by frequency are left out.
        class_names: C names; without them classes are named by their index.

    Returns:
        ``miou``: mean IoU over the classes that have one. ``pixel_accuracy`` (mmseg's aAcc); ``mean_accuracy`` (mAcc), the mean
        over the classes that have a true pixel. ``iou`` and ``accuracy``: lists [C] with ``None`` where undefined.
        ``frequency_weighted_iou``: IoU weighted by true pixels.

        With ``train_pixels``: ``head``, ``body``, ``tail``, the mean IoU of the classes of each (see
        :func:`frequency_groups`); ``untrained_classes``, those without a training pixel. With 150 classes ``head_index``,
        ``body_index``, ``tail_index``: ADE20K's published ranges, 0-19, 20-74 and 75-149, which mean something for ADE20K alone.

        ``absent_classes``: without a true pixel. ``undefined_classes``: those of them that are nowhere predicted either, and
        have no IoU. ``empty_groups``: groups whose figure is ``None`` because none of their classes has an IoU. ``pixels``: how
        many were judged.

    Raises:
        InputError: not a square matrix of counts, nothing in it, or counts or names of another number of classes.
    """
    counts = _checked_counts(confusion)
    num_classes = len(counts)
    names = list(map(str, class_names)) if class_names is not None else [str(c) for c in range(num_classes)]
    if len(names) != num_classes:
        raise InputError(f"{len(names)} names for {num_classes} classes: give one for each")
    right, truth, guessed = counts.diagonal().astype(np.float64), counts.sum(axis=1), counts.sum(axis=0)
    union = truth + guessed - counts.diagonal()
    iou = np.divide(100 * right, union, out=np.full(num_classes, np.nan), where=union > 0)
    accuracy = np.divide(100 * right, truth, out=np.full(num_classes, np.nan), where=truth > 0)
    metrics: dict[str, Any] = {
        "miou": _mean(iou),
        "pixel_accuracy": float(100 * right.sum() / truth.sum()),
        "mean_accuracy": _mean(accuracy),
        "frequency_weighted_iou": float(np.sum(truth[truth > 0] * iou[truth > 0]) / truth.sum()),
        "iou": _listed(iou),
        "accuracy": _listed(accuracy),
    }
    groups: dict[str, Any] = {}
    if train_pixels is not None:
        pixels = np.asarray(train_pixels.cpu() if isinstance(train_pixels, Tensor) else train_pixels)
        if pixels.shape != (num_classes,) or (pixels < 0).any():
            raise InputError(
                f"train_pixels must hold one count of at least 0 for each of the {num_classes} classes, not an array of shape "
                f"{list(pixels.shape)}: count the training masks by count_pixels"
            )
        groups.update(frequency_groups(pixels))
        metrics["untrained_classes"] = [names[c] for c in np.flatnonzero(pixels == 0)]
    if num_classes == 150:
        groups.update(ADE20K_GROUPS)
    metrics.update(_group_means(iou, groups))
    metrics["empty_groups"] = [name for name in groups if metrics[name] is None]
    metrics["absent_classes"] = [names[c] for c in np.flatnonzero(truth == 0)]
    metrics["undefined_classes"] = [names[c] for c in np.flatnonzero(union == 0)]
    metrics["pixels"] = int(truth.sum())
    return metrics


def _group_means(iou: np.ndarray, groups: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: _mean(iou[np.asarray(classes, dtype=np.int64)]) for name, classes in groups.items()}


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is not NaN, None where nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def _listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _checked_counts(confusion: np.ndarray | Tensor) -> np.ndarray:
    counts = np.asarray(confusion.cpu() if isinstance(confusion, Tensor) else confusion)
    if (
        counts.ndim != 2
        or counts.shape[0] != counts.shape[1]
        or len(counts) < 2
        or not np.issubdtype(counts.dtype, np.integer)
    ):
        raise InputError(
            f"the confusion matrix is {counts.dtype} of shape {list(counts.shape)}: give integer counts [C, C], row = true class"
        )
    if (counts < 0).any():
        raise InputError("the confusion matrix has negative counts: give numbers of pixels")
    if counts.sum() == 0:
        raise InputError("the confusion matrix counts no pixel: the test set is empty or all of it is ignored")
    return counts
