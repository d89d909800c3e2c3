"""What a classifier's test logits say: top-k, per class, shot groups, calibration.

Accuracies and calibration errors are in percent. Ties between logits go to the lower class index, on every device. On a
long tail that is the larger class, and logits that were rounded to float16 tie often enough to move CIFAR's top-1 by up to
0.02 points: runs are evaluated, and saved, in float32. Nothing is silently NaN: a group without a test image yields
``None`` and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.metrics.severity import errors_within_superclass

MANY_SHOT_ABOVE = 100
"""A class with more training images than this is many-shot (Liu et al. 2019, "OLTR")."""
FEW_SHOT_BELOW = 20
"""A class with fewer training images than this is few-shot; between the two it is medium-shot."""

INDEX_GROUPS: dict[int, dict[str, range]] = {
    100: {
        "many_shot_index": range(0, 36),
        "medium_shot_index": range(36, 71),
        "few_shot_index": range(71, 100),
    },
    10: {
        "many_shot_index": range(0, 3),
        "medium_shot_index": range(3, 7),
        "few_shot_index": range(7, 10),
    },
}
"""Number of classes -> the fixed class ranges that the code of MiSLAS uses at every imbalance factor (CIFAR-100-LT and
CIFAR-10-LT)."""


def correct_at_k(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Whether the right class is among the ``k`` highest logits; stays on the device, without a host sync.

    Args:
        logits: [n, C], any float type.
        labels: [n] int64.
        k: At least 1.

    Returns:
        bool [n]. A row that holds a NaN at the right class is wrong; a NaN elsewhere ranks above every number.
    """
    own = logits.gather(1, labels[:, None])
    lower_index = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ahead = ~(logits <= own) | ((logits == own) & lower_index)
    return ahead.sum(dim=1) < k


def topk_accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Top-k accuracy in percent, a 0-dim float64 tensor on the device: only reading it synchronizes."""
    return correct_at_k(logits, labels, k).double().mean() * 100


def per_class_accuracy(logits: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> np.ndarray:
    """Recall of each class in percent, float64 [C]; NaN exactly at the classes without a test image."""
    scores, targets = _checked(logits, labels)
    return _per_class(correct_at_k(scores, targets), targets, scores.shape[1])


def mean_class_accuracy(logits: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> float:
    """Mean recall in percent of the classes that have an image: what plain accuracy is where all have equally many.

    By it a choice on images with a long tail is one for test images without.
    """
    return float(np.nanmean(per_class_accuracy(logits, labels)))


def shot_groups(train_counts: Sequence[int] | np.ndarray | Tensor) -> dict[str, np.ndarray]:
    """The classes [int64] of each shot group by number of training images: many > 100, medium 20-100, few < 20."""
    counts = np.asarray(train_counts)
    return {
        "many_shot": np.flatnonzero(counts > MANY_SHOT_ABOVE),
        "medium_shot": np.flatnonzero((counts >= FEW_SHOT_BELOW) & (counts <= MANY_SHOT_ABOVE)),
        "few_shot": np.flatnonzero(counts < FEW_SHOT_BELOW),
    }


def calibration_error(confidence: Tensor, correct: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error in percent over equal-width bins.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 3 (https://arxiv.org/abs/1706.04599).

    Args:
        confidence: [n] probabilities, n >= 1.
        correct: [n] whether the event happened, bool or 0/1.
        num_bins: Bins of [0, 1]; a confidence of 1 falls into the last.
    """
    # Not torchmetrics, which the test compares this with: importing it takes longer than torch does, before every run.
    _, total, hits = _binned(confidence, correct, num_bins)
    return float(np.abs(hits - total).sum() / len(confidence)) * 100


def reliability_bins(
    logits: Tensor | np.ndarray, labels: Tensor | np.ndarray, num_bins: int = 15
) -> dict[str, np.ndarray]:
    """The bins of a reliability diagram (Guo et al. 2017, Fig. 1), for top-1 confidence.

    Returns:
        ``edges`` [num_bins + 1]; ``count`` int64 [num_bins]; ``confidence`` and ``accuracy`` [num_bins] in percent, NaN
        exactly where ``count`` is 0. The count-weighted mean of ``|accuracy - confidence|`` is the ECE.
    """
    scores, targets = _checked(logits, labels)
    confidence = scores.double().softmax(dim=1).amax(dim=1)
    count, total, hits = _binned(confidence, correct_at_k(scores, targets), num_bins)
    with np.errstate(invalid="ignore"):
        return {
            "edges": _edges(num_bins),
            "count": count,
            "confidence": 100 * total / count,
            "accuracy": 100 * hits / count,
        }


def evaluate(
    logits: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    train_counts: Sequence[int] | np.ndarray | Tensor | None = None,
    *,
    superclasses: Sequence[int] | None = None,
    num_bins: int = 15,
) -> dict[str, Any]:
    """All metrics of one set of test logits, ready for JSON.

    Args:
        logits: [n, C], any float type (float16, which files of older versions hold, is widened to float32 first; its ties stay).
        labels: [n] integers in [0, C).
        train_counts: Training images per class [C]; without it the groups by count are left out.
        superclasses: The number of each class's superclass [C], where there are such.
        num_bins: Bins of every calibration error.

    Returns:
        ``top1``; ``top5`` (``None`` below 5 classes); ``macro``, ``harmonic_mean``, ``geometric_mean`` and
        ``worst_class`` of the per-class accuracies (over the classes that have a test image; the harmonic and geometric
        means are 0 where a class is at 0); ``ece`` of the top-1 confidence and ``classwise_ece`` (mean over all C
        classes of the binary ECE of that class's probability, Kull et al. 2019); all these in percent. ``nll`` in nats;
        ``brier``, the mean squared distance between the probabilities and the one-hot label (0 to 2).

        With ``train_counts``: ``many_shot``, ``medium_shot``, ``few_shot`` (> 100, 20-100, < 20 training images), each
        the mean of its classes' accuracies, and ``ece_many_shot`` ... over the test images of these classes. With 100
        classes also ``many_shot_index`` (classes 0-35), ``medium_shot_index`` (36-70), ``few_shot_index`` (71-99), with
        10 classes 0-2, 3-6, 7-9, and their ``ece_...``: the fixed ranges of MiSLAS for CIFAR-100-LT and CIFAR-10-LT,
        which mean something only where classes are sorted by falling frequency. For other numbers of classes there are
        no such ranges and the keys are absent.

        With ``superclasses``: ``errors_within_superclass``, the share of the mistakes that stay inside the right superclass
        (percent; ``None`` without a mistake).

        ``empty_classes``: classes without a test image. ``untrained_classes``: classes without a training image.
        ``empty_groups``: groups whose value is ``None`` because none of their classes has a test image.

    Raises:
        InputError: Shapes that do not fit, labels outside [0, C), logits that are not finite, or a negative count.
    """
    scores, targets = _checked(logits, labels)
    num_classes = scores.shape[1]
    correct = correct_at_k(scores, targets)
    recall = _per_class(correct, targets, num_classes)
    present = recall[~np.isnan(recall)]

    log_prob = F.log_softmax(scores, dim=1)
    prob = log_prob.exp()
    confidence = prob.amax(dim=1)
    one_hot = F.one_hot(targets, num_classes)
    metrics: dict[str, Any] = {
        "top1": float(topk_accuracy(scores, targets)),
        "top5": float(topk_accuracy(scores, targets, 5)) if num_classes >= 5 else None,
        "macro": float(present.mean()),
        "harmonic_mean": float(len(present) / np.sum(1 / present)) if present.all() else 0.0,
        "geometric_mean": float(np.exp(np.log(present).mean())) if present.all() else 0.0,
        "worst_class": float(present.min()),
        "ece": calibration_error(confidence, correct, num_bins),
        "classwise_ece": float(
            np.mean([calibration_error(prob[:, c], one_hot[:, c], num_bins) for c in range(num_classes)])
        ),
        "nll": float(F.nll_loss(log_prob.double(), targets)),
        "brier": float((prob.double() - one_hot).square().sum(dim=1).mean()),
    }

    if superclasses is not None:
        # The first of equal logits, as everywhere here; argmax promises none.
        predictions = (scores == scores.amax(dim=1, keepdim=True)).int().argmax(dim=1)
        metrics["errors_within_superclass"] = errors_within_superclass(predictions, targets, superclasses)
    groups: dict[str, Sequence[int] | np.ndarray] = {}
    untrained: list[int] = []
    if train_counts is not None:
        counts = _checked_counts(train_counts, num_classes)
        groups.update(shot_groups(counts))
        untrained = np.flatnonzero(counts == 0).tolist()
    groups.update(INDEX_GROUPS.get(num_classes, {}))
    metrics.update(_group_metrics(groups, recall, confidence, correct, targets, num_bins))
    metrics["empty_groups"] = [name for name in groups if metrics[name] is None]
    metrics["empty_classes"] = np.flatnonzero(np.isnan(recall)).tolist()
    metrics["untrained_classes"] = untrained
    return metrics


def evaluate_calibrated(
    logits: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    val_logits: Tensor | np.ndarray,
    val_labels: Tensor | np.ndarray,
) -> dict[str, float]:
    """Calibration after temperature scaling (Guo et al. 2017), with the temperature fitted on a validation split.

    Args:
        logits: of the test images [n, C].
        labels: of the test images [n].
        val_logits: of images that were neither trained nor tested on [m, C].
        val_labels: of these images [m].

    Returns:
        ``temperature``, and ``ece``, ``classwise_ece`` (percent), ``nll`` and ``brier`` with ``_calibrated`` behind the name.
        Accuracies do not change with a temperature.
    """
    from sar_cls.metrics.correction import apply_temperature, fit_temperature

    temperature = fit_temperature(torch.as_tensor(val_logits).float(), val_labels)
    scaled = evaluate(apply_temperature(torch.as_tensor(logits), temperature), labels)
    names = ("ece", "classwise_ece", "nll", "brier")
    return {"temperature": temperature, **{f"{name}_calibrated": scaled[name] for name in names}}


def _edges(num_bins: int) -> np.ndarray:
    return np.linspace(0.0, 1.0, num_bins + 1)


def _binned(confidence: Tensor, correct: Tensor, num_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many fall into each bin, the sum of their confidences and how many of them are correct, each [num_bins]."""
    values = confidence.double().cpu().numpy()
    index = np.clip(np.searchsorted(_edges(num_bins), values, side="right") - 1, 0, num_bins - 1)
    return (
        np.bincount(index, minlength=num_bins),
        np.bincount(index, values, num_bins),
        np.bincount(index, correct.cpu().numpy(), num_bins),
    )


def _group_metrics(
    groups: Mapping[str, Sequence[int] | np.ndarray],
    recall: np.ndarray,
    confidence: Tensor,
    correct: Tensor,
    targets: Tensor,
    num_bins: int,
) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name, classes in groups.items():
        member = np.zeros(len(recall), dtype=bool)
        member[np.asarray(classes, dtype=np.int64)] = True
        tested = recall[member & ~np.isnan(recall)]
        rows = torch.from_numpy(member).to(targets.device)[targets]
        values[name] = float(tested.mean()) if tested.size else None
        values[f"ece_{name}"] = calibration_error(confidence[rows], correct[rows], num_bins) if tested.size else None
    return values


def _per_class(correct: Tensor, targets: Tensor, num_classes: int) -> np.ndarray:
    labels = targets.cpu().numpy()
    hits = np.bincount(labels, weights=correct.cpu().numpy(), minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return 100 * hits / np.bincount(labels, minlength=num_classes)


def _checked(logits: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    scores = torch.as_tensor(logits).detach()
    targets = torch.as_tensor(labels, device=scores.device)
    if scores.ndim != 2 or not scores.is_floating_point() or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise InputError(
            f"Logits must be floats of shape [n, C] with n >= 1 and C >= 2, not {scores.dtype} {list(scores.shape)}; "
            "check what was saved."
        )
    if targets.shape != scores.shape[:1] or targets.is_floating_point():
        raise InputError(
            f"Labels must be integers of shape [{scores.shape[0]}] to fit the logits, not {targets.dtype} "
            f"{list(targets.shape)}; check that both come from the same run."
        )
    scores = scores if scores.dtype == torch.float64 else scores.float()
    targets = targets.long()
    if int(targets.min()) < 0 or int(targets.max()) >= scores.shape[1]:
        raise InputError(
            f"Labels reach from {int(targets.min())} to {int(targets.max())} but the logits have {scores.shape[1]} "
            "classes; check that both come from the same data set."
        )
    bad = int((~torch.isfinite(scores)).any(dim=1).sum())
    if bad:
        raise InputError(
            f"The logits of {bad} of {len(scores)} images are not finite, so the training diverged or overflowed the "
            "stored type; lower the learning rate or train in float32."
        )
    return scores, targets


def _checked_counts(train_counts: Sequence[int] | np.ndarray | Tensor, num_classes: int) -> np.ndarray:
    counts = np.asarray(train_counts.cpu() if isinstance(train_counts, Tensor) else train_counts)
    if counts.shape != (num_classes,) or (counts < 0).any():
        raise InputError(
            f"train_counts must hold one count >= 0 for each of the {num_classes} classes, not an array of shape "
            f"{list(counts.shape)}; pass the training set's counts."
        )
    return counts
