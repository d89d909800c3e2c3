"""The metrics as loops over samples, classes and bins, written from the definitions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest


def softmax(logits: np.ndarray) -> np.ndarray:
    out = np.zeros(logits.shape)
    for i, row in enumerate(logits):
        powers = [math.exp(v - max(row)) for v in row]
        out[i] = [p / sum(powers) for p in powers]
    return out


def ranking(row: np.ndarray) -> list[int]:
    return sorted(range(len(row)), key=lambda c: (-row[c], c))


def loop_ece(confidence: list[float], correct: list[bool], bins: int = 15) -> float:
    total = 0.0
    for b in range(bins):
        last = b == bins - 1
        inside = [i for i, p in enumerate(confidence) if b / bins <= p < (b + 1) / bins or (last and p == 1)]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
    return 100 * total


def loop_evaluate(logits: np.ndarray, labels: np.ndarray, counts: list[int] | None) -> dict:
    """All that ``evaluate`` returns, one plain loop after the other."""
    n, num_classes = logits.shape
    prob = softmax(logits)
    right = [ranking(logits[i])[0] == labels[i] for i in range(n)]
    confidence = [max(prob[i]) for i in range(n)]
    recall = {
        c: 100 * float(np.mean([right[i] for i in range(n) if labels[i] == c]))
        for c in range(num_classes)
        if c in labels
    }
    values = list(recall.values())
    zero = min(values) == 0
    out = {
        "top1": 100 * sum(right) / n,
        "top5": 100 * sum(labels[i] in ranking(logits[i])[:5] for i in range(n)) / n if num_classes >= 5 else None,
        "macro": sum(values) / len(values),
        "harmonic_mean": 0.0 if zero else len(values) / sum(1 / v for v in values),
        "geometric_mean": 0.0 if zero else math.prod(v / 100 for v in values) ** (1 / len(values)) * 100,
        "worst_class": min(values),
        "ece": loop_ece(confidence, right),
        "classwise_ece": sum(
            loop_ece([prob[i][c] for i in range(n)], [labels[i] == c for i in range(n)]) for c in range(num_classes)
        )
        / num_classes,
        "nll": -sum(math.log(prob[i][labels[i]]) for i in range(n)) / n,
        "brier": sum((prob[i][c] - (labels[i] == c)) ** 2 for i in range(n) for c in range(num_classes)) / n,
        "empty_classes": [c for c in range(num_classes) if c not in labels],
        "untrained_classes": [],
    }
    rules = {}
    if counts is not None:
        out["untrained_classes"] = [c for c in range(num_classes) if counts[c] == 0]
        rules["many_shot"] = [c for c in range(num_classes) if counts[c] > 100]
        rules["medium_shot"] = [c for c in range(num_classes) if 20 <= counts[c] <= 100]
        rules["few_shot"] = [c for c in range(num_classes) if counts[c] < 20]
    if num_classes == 100:
        rules["many_shot_index"] = list(range(36))
        rules["medium_shot_index"] = list(range(36, 71))
        rules["few_shot_index"] = list(range(71, 100))
    if num_classes == 10:
        rules |= {"many_shot_index": [0, 1, 2], "medium_shot_index": [3, 4, 5, 6], "few_shot_index": [7, 8, 9]}
    out["empty_groups"] = []
    for name, classes in rules.items():
        tested = [recall[c] for c in classes if c in recall]
        rows = [i for i in range(n) if labels[i] in classes]
        out[name] = sum(tested) / len(tested) if tested else None
        out[f"ece_{name}"] = loop_ece([confidence[i] for i in rows], [right[i] for i in rows]) if tested else None
        if not tested:
            out["empty_groups"].append(name)
    return out


def check_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        wanted = pytest.approx(value, rel=1e-5, abs=2e-5) if isinstance(value, float) else value
        assert found[name] == wanted, name


def random_case(n: int, num_classes: int, seed: int, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=n)
    logits = sharp * rng.standard_normal((n, num_classes))
    logits[np.arange(n), labels] += rng.choice([0.0, 2 * sharp], size=n)
    return logits, labels
