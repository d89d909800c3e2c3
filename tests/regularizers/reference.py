"""The formulas of the papers as slow NumPy loops in float64, and gradients by central differences.

Written from the formulas alone and sharing nothing with the library. Where a formula stops a gradient, the function takes the
stopped quantity as an argument of its own: a difference quotient then moves the one and leaves the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def numeric_gradient(function: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """Central differences of a scalar function of an array."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        plus, minus = at.copy(), at.copy()
        plus[index] += step
        minus[index] -= step
        gradient[index] = (function(plus) - function(minus)) / (2 * step)
    return gradient


def one_hot(labels: NDArray[np.int64], num_classes: int) -> Array:
    weights = np.zeros((len(labels), num_classes))
    for i, label in enumerate(labels):
        weights[i, label] = 1.0
    return weights


def softmax(row: Array) -> Array:
    exponentials = np.exp(row - row.max())
    return exponentials / exponentials.sum()


# SAR


def embed(anchors: Array, blocks: list[dict[str, Array]], eps: float = 1e-5) -> Array:
    """Linear, batch norm over the anchors, ReLU; once per block."""
    out = anchors
    for block in blocks:
        linear = np.zeros((len(out), len(block["bias"])))
        for i in range(linear.shape[0]):
            for j in range(linear.shape[1]):
                linear[i, j] = block["bias"][j] + sum(out[i, k] * block["weight"][j, k] for k in range(out.shape[1]))
        normed = np.zeros_like(linear)
        for j in range(linear.shape[1]):
            mean, variance = linear[:, j].mean(), linear[:, j].var()
            normed[:, j] = (linear[:, j] - mean) / np.sqrt(variance + eps) * block["gamma"][j] + block["beta"][j]
        out = np.maximum(normed, 0.0)
    return out


def right_probs(embedded: Array, weight: Array, bias: Array) -> tuple[Array, list[bool]]:
    """Probability of the right class of each anchor under a linear classifier, and whether that class is the likeliest."""
    probs, is_right = np.zeros(len(embedded)), []
    for i, row in enumerate(embedded):
        logits = np.array([weight[c] @ row + bias[c] for c in range(len(weight))])
        probs[i] = softmax(logits)[i]
        is_right.append(int(np.argmax(logits)) == i)
    return probs, is_right


def aux_weights(probs: Array, tau: float) -> Array:
    """SAR paper, Eq. 6 and 7, with the published code's 1e-9."""
    suppressed = [1.0 if p > tau else p for p in probs]
    total = sum(np.log(p) for p in suppressed) + 1e-9
    return np.array([np.log(p) / total for p in suppressed])


def aux_loss(probs: Array, weights: Array) -> float:
    """SAR paper, Eq. 5."""
    return float(-sum(w * np.log(p) for w, p in zip(weights, probs, strict=True)))


def warm_up(step: int, steps: int) -> float:
    """Share of a weight at a training step, counted from 0: a straight line from 0 to 1 over ``steps`` steps."""
    return 1.0 if step >= steps else step / steps


class SemanticAnchors:
    """SAR paper, Eq. 8, with both readings of the gate."""

    def __init__(self, num_classes: int, feat_dim: int, momentum: float) -> None:
        self.values = np.zeros((num_classes, feat_dim))
        self.started = [False] * num_classes
        self.momentum = momentum

    def update(self, embedded: Array, accepted: list[bool], gate: str) -> list[bool]:
        """One step; returns the classes whose anchor is used at this step."""
        used = [all(accepted)] * len(accepted) if gate == "all" else list(accepted)
        for c, use in enumerate(used):
            if use and self.started[c]:
                self.values[c] = self.momentum * self.values[c] + (1 - self.momentum) * embedded[c]
            elif use:
                self.values[c] = embedded[c]
                self.started[c] = True
        return used


def anchor_loss(features: Array, label_weights: Array, anchors: Array, used: list[bool]) -> float:
    """SAR paper, Eq. 4, over the used classes: a sample counts with the label weight on them."""
    num_samples, feat_dim = features.shape
    total = 0.0
    for i in range(num_samples):
        share = sum(label_weights[i, c] for c in range(len(anchors)) if used[c])
        if share == 0:
            continue
        for d in range(feat_dim):
            target = sum(label_weights[i, c] * anchors[c, d] for c in range(len(anchors)) if used[c]) / share
            total += share * (features[i, d] - target) ** 2
    return total / (num_samples * feat_dim)


# CAR


def centers(features: Array, label_weights: Array) -> tuple[Array, list[bool]]:
    """SAR paper, Eq. 3, and which classes are in the batch."""
    num_classes = label_weights.shape[1]
    means, present = np.zeros((num_classes, features.shape[1])), []
    for c in range(num_classes):
        count = sum(label_weights[:, c])
        present.append(bool(count > 0))
        if count > 0:
            means[c] = sum(label_weights[i, c] * features[i] for i in range(len(features))) / count
    return means, present


def car_intra(features: Array, label_weights: Array, fixed_centers: Array) -> float:
    total = 0.0
    for i in range(features.shape[0]):
        target = sum(label_weights[i, c] * fixed_centers[c] for c in range(len(fixed_centers)))
        total += np.abs(target - features[i]).sum()
    return float(max((total / features.size) ** 2, 1e-5))


def car_c2c(moving_centers: Array, fixed_centers: Array, has_center: list[bool], margin: float = 0.5) -> float:
    num_classes, feat_dim = moving_centers.shape
    classes = [c for c in range(num_classes) if has_center[c]]
    threshold = margin / (num_classes - 1)
    row_sums = []
    for a in classes:
        relation = softmax(np.array([moving_centers[a] @ fixed_centers[b] for b in classes]) / np.sqrt(feat_dim))
        row_sum = sum(r - threshold for r, b in zip(relation, classes, strict=True) if b != a and r > threshold)
        row_sums.append(min(max(row_sum, 1e-5), 1 - 1e-5))
    return float(np.mean(row_sums) ** 2)


def car_c2s(
    features: Array, label_weights: Array, fixed_centers: Array, has_center: list[bool], margin: float = 0.25
) -> float:
    """The published term: all centres are constants, in the energy of a sample with its own class too."""
    num_classes, feat_dim = fixed_centers.shape
    classes = [c for c in range(num_classes) if has_center[c]]
    threshold = margin / (num_classes - 1)
    clipped = []
    for i in range(len(features)):
        scores = np.zeros(len(classes))
        for k, c in enumerate(classes):
            to_sample, to_itself = 0.0, 0.0
            for d in range(feat_dim):
                to_sample += features[i, d] * fixed_centers[c, d]
                to_itself += fixed_centers[c, d] * fixed_centers[c, d]
            own = label_weights[i, c]
            scores[k] = ((1 - own) * to_sample + own * to_itself) / np.sqrt(feat_dim)
        row_sum = 0.0
        for k, probability in enumerate(softmax(scores)):
            if probability > threshold:
                row_sum += (1 - label_weights[i, classes[k]]) * (probability - threshold)
        clipped.append(min(max(row_sum, 1e-5), 1 - 1e-5))
    return (sum(clipped) / len(clipped)) ** 2


# Center loss


def center_loss(features: Array, label_weights: Array, class_centers: Array) -> float:
    """Wen et al. 2016, Eq. 2, averaged over the batch."""
    total = 0.0
    for i in range(len(features)):
        target = sum(label_weights[i, c] * class_centers[c] for c in range(len(class_centers)))
        total += ((features[i] - target) ** 2).sum() / 2
    return total / len(features)


def moved_centers(features: Array, label_weights: Array, class_centers: Array, rate: float) -> Array:
    """Wen et al. 2016, Eq. 4."""
    moved = class_centers.copy()
    for c in range(len(class_centers)):
        count, pull = 0.0, np.zeros(features.shape[1])
        for i in range(len(features)):
            count += label_weights[i, c]
            pull += label_weights[i, c] * (class_centers[c] - features[i])
        moved[c] -= rate * pull / (1 + count)
    return moved
