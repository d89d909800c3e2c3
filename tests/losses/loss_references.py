"""The losses' formulas as slow loops over Python numbers in float64: what one sample costs if class ``y`` is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def nll(z: np.ndarray, y: int) -> float:
    highest = max(z)
    return highest + math.log(sum(math.exp(v - highest) for v in z)) - z[y]


def smoothing(counts: list[int], shape: str, head: float, tail: float, power: float = 2.0) -> list[float]:
    low, high = min(counts), max(counts)
    values = []
    for n in counts:
        t = (n - low) / (high - low)
        values.append(
            {
                "concave": tail + (head - tail) * math.sin(math.pi * t / 2),
                "linear": tail + (head - tail) * t,
                "convex": head + (head - tail) * math.sin(1.5 * math.pi + math.pi * t / 2),
                "exponential": tail + (head - tail) * t**power,
            }[shape]
        )
    return values


def label_aware_smoothing(z: np.ndarray, y: int, eps: list[float]) -> float:
    num_classes = len(z)
    loss = 0.0
    for c in range(num_classes):
        target = eps[y] / num_classes + (1 - eps[y] if c == y else 0.0)
        loss += target * nll(z, c)
    return loss


def generalized_weights(counts: list[int], rho: float) -> np.ndarray:
    frequencies = [count / sum(counts) for count in counts]
    powers = [(1 / frequency) ** rho if frequency else 0.0 for frequency in frequencies]
    present = len([count for count in counts if count])
    return np.array([present * power / sum(powers) for power in powers])


def effective_number_weights(counts: list[int], beta: float) -> list[float]:
    # The effective number as the geometric sum it stands for (Cui et al. 2019, Prop. 1), free of cancellation.
    raw = [1 / sum(beta**k for k in range(n)) for n in counts]
    return [w * len(counts) / sum(raw) for w in raw]


def focal(z: np.ndarray, y: int, gamma: float) -> float:
    p = math.exp(-nll(z, y))
    return -((1 - p) ** gamma) * math.log(p)


def ldam(z: np.ndarray, y: int, counts: list[int], max_margin: float, scale: float) -> float:
    raw = [n**-0.25 for n in counts]
    margins = [max_margin * m / max(raw) for m in raw]
    shifted = [scale * (v - (margins[y] if c == y else 0.0)) for c, v in enumerate(z)]
    return nll(np.array(shifted), y)


def balanced_softmax(z: np.ndarray, y: int, counts: list[int]) -> float:
    return -math.log(counts[y] * math.exp(z[y]) / sum(n * math.exp(v) for n, v in zip(counts, z, strict=True)))


def logit_adjusted(z: np.ndarray, y: int, counts: list[int], tau: float) -> float:
    # Menon et al. 2021, Eq. 10, second form: log(1 + sum over the others of (pi_c / pi_y)^tau e^(z_c - z_y)).
    others = [c for c in range(len(z)) if c != y]
    return math.log1p(sum((counts[c] / counts[y]) ** tau * math.exp(z[c] - z[y]) for c in others))


def arb(z: np.ndarray, y: int, sizes: list[float]) -> float:
    return -math.log(math.exp(z[y]) / sum(n / sizes[y] * math.exp(v) for n, v in zip(sizes, z, strict=True)))


def cosface(z: np.ndarray, y: int, margin: float, scale: float) -> float:
    return nll(np.array([scale * (v - (margin if c == y else 0.0)) for c, v in enumerate(z)]), y)


def arcface(z: np.ndarray, y: int, margin: float, scale: float) -> float:
    angle = math.acos(min(1.0, max(-1.0, z[y])))
    inside = angle + margin < math.pi
    right = math.cos(angle + margin) if inside else math.cos(angle) - margin * math.sin(margin)
    return nll(np.array([scale * (right if c == y else v) for c, v in enumerate(z)]), y)


def dot_regression(z: np.ndarray, y: int, weight: float) -> float:
    return weight * (z[y] - 1) ** 2 / 2


Cost = Callable[[np.ndarray, int], float]


def hard_loss(logits: np.ndarray, labels: np.ndarray, cost: Cost) -> float:
    return sum(cost(z, int(y)) for z, y in zip(logits, labels, strict=True)) / len(logits)


def soft_loss(logits: np.ndarray, targets: np.ndarray, cost: Cost) -> float:
    total = 0.0
    for z, row in zip(logits, targets, strict=True):
        for c, share in enumerate(row):
            total += share * cost(z, c)
    return total / len(logits)
