"""Metrics against loops over samples, classes and bins, written from the definitions in float64."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.errors import InputError
from sar_cls.metrics import (
    INDEX_GROUPS,
    calibration_error,
    correct_at_k,
    evaluate,
    evaluate_calibrated,
    per_class_accuracy,
    reliability_bins,
    shot_groups,
    topk_accuracy,
)


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


@pytest.mark.parametrize(
    ("n", "num_classes", "counts"),
    [
        (1, 2, [3, 0]),
        (60, 3, [500, 100, 19]),
        (60, 4, None),
        (80, 5, [101, 100, 20, 19, 1]),
        (80, 10, [500] * 10),
        (400, 100, [500 - 5 * c for c in range(100)]),
        (300, 100, None),
    ],
)
@pytest.mark.parametrize("sharp", [0.5, 4.0])
def test_evaluate_against_loops(
    n: int, num_classes: int, counts: list[int] | None, sharp: float, device: torch.device
) -> None:
    logits, labels = random_case(n, num_classes, n + num_classes, sharp)
    logits = logits.astype(np.float32)
    found = evaluate(torch.tensor(logits, device=device), torch.tensor(labels, device=device), counts)
    check_equal(found, loop_evaluate(logits.astype(np.float64), labels, counts))


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(1, 25),
    num_classes=st.sampled_from([2, 4, 6, 7]),  # equal logits of 3 or 5 classes lie on a bin's edge, up to rounding
    seed=st.integers(0, 10_000),
    counts=st.lists(st.sampled_from([0, 1, 19, 20, 100, 101, 500]), min_size=7, max_size=7),
    step=st.sampled_from([0.01, 1.0]),
)
def test_evaluate_with_ties_and_absent_classes(
    n: int, num_classes: int, seed: int, counts: list[int], step: float
) -> None:
    logits, labels = random_case(n, num_classes, seed)
    logits = np.round(logits / step) * step + 0.0  # step 1 makes many ties
    logits = logits.astype(np.float16)
    found = evaluate(logits, labels, counts[:num_classes])
    check_equal(found, loop_evaluate(logits.astype(np.float64), labels, counts[:num_classes]))


def test_json_has_no_nan_and_names_what_is_empty() -> None:
    logits, labels = np.eye(6, dtype=np.float16)[:4] * 5, np.arange(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        metrics = evaluate(logits, labels, [500, 300, 50, 50, 3, 0])
    json.dumps(metrics, allow_nan=False)
    assert metrics["few_shot"] is None
    assert metrics["ece_few_shot"] is None
    assert metrics["empty_groups"] == ["few_shot"]
    assert metrics["empty_classes"] == [4, 5]
    assert metrics["untrained_classes"] == [5]
    assert metrics["many_shot"] == metrics["medium_shot"] == metrics["macro"] == 100.0


def test_means_of_a_known_case() -> None:
    # Class accuracies 100, 50, 25 %.
    labels = np.repeat([0, 1, 2], 4)
    predicted = np.array([0, 0, 0, 0, 1, 1, 0, 0, 2, 0, 0, 0])
    metrics = evaluate(np.eye(3)[predicted] * 3, labels, [200, 50, 5])
    assert metrics["macro"] == pytest.approx(175 / 3)
    assert metrics["harmonic_mean"] == pytest.approx(3 / (1 / 100 + 1 / 50 + 1 / 25))
    assert metrics["geometric_mean"] == pytest.approx(50.0)
    assert metrics["worst_class"] == pytest.approx(25.0)
    assert [metrics[f"{group}_shot"] for group in ("many", "medium", "few")] == pytest.approx([100, 50, 25])


def test_a_class_that_is_always_wrong_makes_the_means_zero_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        metrics = evaluate(np.eye(2)[[0, 0]], np.arange(2))
    assert metrics["harmonic_mean"] == metrics["geometric_mean"] == metrics["worst_class"] == 0.0
    assert metrics["macro"] == 50.0


def test_top5_is_undefined_below_five_classes() -> None:
    assert evaluate(np.eye(4), np.arange(4))["top5"] is None
    assert evaluate(np.eye(5), np.arange(5))["top5"] == 100.0


def test_groups_by_count_at_imbalance_100() -> None:
    counts = [int(500 * 0.01 ** (c / 99)) for c in range(100)]
    assert {name: len(classes) for name, classes in shot_groups(counts).items()} == {
        "many_shot": 35,
        "medium_shot": 35,
        "few_shot": 30,
    }


def test_index_groups_cover_every_class_once() -> None:
    for num_classes, groups in INDEX_GROUPS.items():
        assert [c for group in groups.values() for c in group] == list(range(num_classes))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), dtype=st.sampled_from([torch.float16, torch.float32]))
def test_topk_against_sorting(seed: int, k: int, dtype: torch.dtype) -> None:
    logits, labels = random_case(20, 6, seed)
    scores = torch.tensor(np.round(logits)).to(dtype)  # many ties
    expected = [int(y) in ranking(row)[:k] for row, y in zip(scores.double().numpy(), labels, strict=True)]
    assert correct_at_k(scores, torch.tensor(labels), k).tolist() == expected
    accuracy = topk_accuracy(scores, torch.tensor(labels), k)
    assert accuracy.ndim == 0
    assert accuracy.item() == pytest.approx(100 * sum(expected) / 20)


def test_top1_agrees_with_argmax(device: torch.device) -> None:
    logits = torch.randint(0, 3, (200, 7), device=device).half()
    labels = torch.randint(0, 7, (200,), device=device)
    expected = (logits.cpu().argmax(1) == labels.cpu()).double().mean() * 100
    assert topk_accuracy(logits, labels).item() == pytest.approx(expected.item())


def test_nan_logits_are_never_right() -> None:
    logits, labels = torch.full((3, 4), float("nan")), torch.tensor([0, 1, 3])
    assert not bool(correct_at_k(logits, labels, 4).any())
    logits = torch.tensor([[1.0, float("nan"), 0.0]])
    assert correct_at_k(logits, torch.tensor([0]), 1).tolist() == [False]
    assert correct_at_k(logits, torch.tensor([0]), 2).tolist() == [True]


@pytest.mark.cuda
def test_topk_does_not_synchronize() -> None:
    logits, labels = torch.randn(64, 10, device="cuda"), torch.randint(10, (64,), device="cuda")
    topk_accuracy(logits, labels, 5)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        topk_accuracy(logits, labels, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_per_class_accuracy_is_nan_exactly_at_absent_classes() -> None:
    accuracy = per_class_accuracy(np.eye(4)[[0, 0, 2]], np.array([0, 2, 2]))
    assert accuracy.dtype == np.float64
    np.testing.assert_array_equal(accuracy, [100.0, np.nan, 50.0, np.nan])


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=40),
    bins=st.sampled_from([1, 2, 8, 16]),  # binary edges and values: no rounding at the edges
)
def test_calibration_error_against_a_loop(values: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = [v for v, _ in values], [c for _, c in values]
    found = calibration_error(torch.tensor(confidence), torch.tensor(correct), bins)
    assert found == pytest.approx(loop_ece(confidence, correct, bins), rel=1e-5, abs=1e-5)


def test_full_confidence_shares_the_last_bin() -> None:
    # 1.0 wrong and 0.95 right: one bin, |1/2 - 0.975|. Two bins of one each would give (1 + 0.05) / 2.
    found = calibration_error(torch.tensor([1.0, 0.95]), torch.tensor([False, True]))
    assert found == pytest.approx(47.5, rel=1e-5)


def test_perfect_and_worst_calibration() -> None:
    assert calibration_error(torch.full((4,), 0.75), torch.tensor([True, True, True, False])) == pytest.approx(
        0, abs=1e-5
    )
    assert calibration_error(torch.ones(4), torch.zeros(4, dtype=torch.bool)) == pytest.approx(100, rel=1e-5)


def test_reliability_bins_average_to_the_ece(device: torch.device) -> None:
    logits, labels = random_case(200, 4, 3)
    bins = reliability_bins(torch.tensor(logits, device=device), torch.tensor(labels, device=device))
    assert bins["edges"].tolist() == pytest.approx(np.linspace(0, 1, 16).tolist())
    assert bins["count"].sum() == 200
    empty = bins["count"] == 0
    assert empty.any()
    assert np.array_equal(np.isnan(bins["accuracy"]), empty)
    assert np.array_equal(np.isnan(bins["confidence"]), empty)
    gap = np.abs(bins["accuracy"] - bins["confidence"])[~empty]
    ece = (bins["count"][~empty] * gap).sum() / 200
    assert ece == pytest.approx(evaluate(logits, labels)["ece"], rel=1e-5)
    assert ece == pytest.approx(loop_evaluate(logits, labels, None)["ece"], rel=1e-5)


def test_saturated_logits_are_fine() -> None:
    metrics = evaluate(np.array([[60000, -60000], [60000, -60000]], dtype=np.float16), np.array([0, 1]))
    assert metrics["nll"] == pytest.approx(60000.0)
    assert metrics["ece"] == pytest.approx(50.0, rel=1e-5)
    assert metrics["brier"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("logits", "labels", "counts", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int), None, "n >= 1"),
        (np.zeros((2, 1)), np.zeros(2, dtype=int), None, "C >= 2"),
        (np.zeros(3), np.zeros(3, dtype=int), None, "shape"),
        (np.zeros((2, 3), dtype=int), np.zeros(2, dtype=int), None, "floats"),
        (np.zeros((2, 3)), np.zeros(3, dtype=int), None, "integers of shape"),
        (np.zeros((2, 3)), np.zeros(2), None, "integers of shape"),
        (np.zeros((2, 3)), np.array([0, 3]), None, "from 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 2]), None, "from -1 to 2"),
        (np.array([[0.0, np.nan], [0.0, 1.0]]), np.array([0, 1]), None, "1 of 2 images are not finite"),
        (np.array([[0.0, np.inf]], dtype=np.float16), np.array([0]), None, "not finite"),
        (np.zeros((2, 3)), np.array([0, 2]), [1, 2], "each of the 3 classes"),
        (np.zeros((2, 3)), np.array([0, 2]), [1, 2, -1], "count >= 0"),
    ],
)
def test_bad_input_is_one_sentence(logits: np.ndarray, labels: np.ndarray, counts: list | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        evaluate(logits, labels, counts)
    assert "\n" not in str(caught.value)


def test_plain_accuracy_needs_no_torchmetrics() -> None:
    code = (
        "import sys, torch; from sar_cls.metrics import topk_accuracy, per_class_accuracy;"
        "topk_accuracy(torch.eye(3), torch.arange(3)); per_class_accuracy(torch.eye(3), torch.arange(3));"
        "import sar_cls.losses, sar_cls.metrics.correction;"
        "assert not {'torchmetrics', 'torchvision', 'scipy', 'mmengine'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_evaluate_calibrated__undoes_a_known_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    # Labels drawn from the logits' own softmax: T = 1 is right for them, and T = 3 for three times the logits.
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in prob])
    result = evaluate_calibrated(3 * logits[:2000], labels[:2000], 3 * logits[2000:], labels[2000:])
    assert result["temperature"] == pytest.approx(3.0, rel=0.1)
    scaled = 3 * logits[:2000] / result["temperature"]
    log_prob = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    assert result["nll_calibrated"] == pytest.approx(-log_prob[np.arange(2000), labels[:2000]].mean(), rel=1e-5)
    plain = evaluate(3 * logits[:2000], labels[:2000])
    assert result["ece_calibrated"] < plain["ece"] / 2
    assert set(result) == {"temperature", *(f"{key}_calibrated" for key in ("ece", "classwise_ece", "nll", "brier"))}


def test_severity_of_mistakes_is_asked_for_by_superclasses() -> None:
    logits = torch.tensor([[3.0, 3.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    labels = [
        1,
        0,
        0,
        3,
    ]  # the first is a tie, which goes to class 0: a near mistake; so is the second, the third is a far one
    found = evaluate(logits, labels, superclasses=[7, 7, 8, 8])
    assert found["errors_within_superclass"] == pytest.approx(200 / 3)
    assert evaluate(logits, [0, 1, 2, 3], superclasses=[7, 7, 8, 8])["errors_within_superclass"] is None
    assert "errors_within_superclass" not in evaluate(logits, labels)
