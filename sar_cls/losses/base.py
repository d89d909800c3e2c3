"""What all classification losses share: checked class counts, hard or soft targets, float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.whole_batch import total

ClassCounts = Sequence[int] | np.ndarray | Tensor


def checked_counts(class_counts: ClassCounts) -> Tensor:
    """Training images per class as float64 [C].

    Raises:
        ValueError: Fewer than two classes, or a class without an image.
    """
    counts = torch.as_tensor(class_counts).detach().to("cpu", torch.float64)
    if counts.ndim != 1 or len(counts) < 2:
        raise ValueError(f"class_counts must be one number for each of at least two classes, not {list(counts.shape)}.")
    if not bool((counts >= 1).all()):
        empty = torch.nonzero(~(counts >= 1)).flatten().tolist()
        raise ValueError(f"Every class needs a training image, but classes {empty} have none; drop or fill them.")
    return counts


def full_precision(logits: Tensor) -> Tensor:
    """Half-precision logits as float32; float64 stays."""
    return logits if logits.dtype == torch.float64 else logits.float()


def expected_cost(cost: Tensor, targets: Tensor) -> Tensor:
    """The cost of the right class, averaged over the batch.

    Args:
        cost: [N, C], the loss that a sample would have if class c were right.
        targets: [N] int64, or soft targets [N, C], under which the expectation is taken: for mixup that is the
            lam / 1-lam weighted sum of the two hard losses.

    Returns:
        Scalar.

    Raises:
        ValueError: ``targets`` fit neither shape.
    """
    if targets.ndim == 1 and not targets.is_floating_point() and len(targets) == len(cost):
        return cost.gather(1, targets.long()[:, None]).mean()
    if targets.is_floating_point() and targets.shape == cost.shape:
        return (targets.to(cost.dtype) * cost).sum(dim=1).mean()
    raise ValueError(
        f"Targets must be int64 [{len(cost)}] or soft {list(cost.shape)} to fit the logits, "
        f"not {targets.dtype} {list(targets.shape)}."
    )


def negative_log_likelihood(logits: Tensor) -> Tensor:
    """``-log softmax(logits)`` [N, C] in full precision: the cross-entropy of every class, were it the right one.

    Raises:
        ValueError: ``logits`` are not [N, C].
    """
    if logits.ndim != 2:
        raise ValueError(f"Logits must be [N, C], not {list(logits.shape)}.")
    return -F.log_softmax(full_precision(logits), dim=1)


class ClassCountLoss(nn.Module):
    """A loss ``(logits [N, C], targets [N] or [N, C]) -> scalar`` that knows how many training images each class has.

    Subclasses derive what they need from the counts once, as float32 buffers that are not saved: the counts belong to the
    data, not to a checkpoint.

    Args:
        class_counts: Training images per class [C], all at least 1.

    Raises:
        ValueError: At construction, for bad counts; in ``forward``, for logits or targets of another shape.
    """

    # Whether what is counted or summed over a batch is so over the batches of all processes (see sar_cls.whole_batch).
    whole_batch: bool = False

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__()
        self.num_classes = len(checked_counts(class_counts))

    def set_epoch(self, epoch: int, total_epochs: int) -> None:
        """Tells the loss where training is: ``epoch`` counts from 0. Only losses with a schedule do something."""

    def batch_sizes(self, targets: Tensor) -> Tensor:
        """Samples of each class in the batch [C], for soft targets the sum of their weights; with ``whole_batch`` of all processes.

        Soft targets of another number of classes, which :func:`expected_cost` refuses, count as one sample a class.
        """
        if targets.ndim == 2:
            sizes = targets.detach().sum(dim=0)
            sizes = sizes if len(sizes) == self.num_classes else targets.new_ones(self.num_classes)
        else:
            # Fixed shape and no wait for the device, which a count of the labels' own maximum would need.
            ones = torch.ones_like(targets, dtype=torch.float32)
            sizes = torch.zeros(self.num_classes, device=targets.device).scatter_add(0, targets.long(), ones)
        return total(sizes) if self.whole_batch else sizes

    def check_logits(self, logits: Tensor, targets: Tensor | None = None) -> None:
        """Refuses logits of another number of classes than the counts have, an empty batch, and on the CPU labels of no class.

        On CUDA such labels trigger a device-side assertion instead, which costs no synchronisation.

        Raises:
            ValueError: see above.
        """
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise ValueError(
                f"This loss was built for {self.num_classes} classes but got logits {list(logits.shape)}; "
                "pass the counts of the data set that the classifier is for."
            )
        if len(logits) == 0:
            raise ValueError("The batch is empty: leave it out, its mean is no number.")
        is_index = targets is not None and targets.ndim == 1 and not targets.is_floating_point()
        if targets is None or not is_index or targets.device.type != "cpu" or torch.compiler.is_compiling():
            return
        if bool(((targets < 0) | (targets >= self.num_classes)).any()):
            raise ValueError(
                f"Class indices must be from 0 to {self.num_classes - 1}: leave samples without a label out of the batch."
            )
