"""Accuracy, shot groups and all metrics at once against the loops of ``accuracy_loops.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sar_cls.errors import InputError
from sar_cls.metrics import (
    INDEX_GROUPS,
    correct_at_k,
    evaluate,
    mean_class_accuracy,
    per_class_accuracy,
    shot_groups,
    topk_accuracy,
)

from .accuracy_loops import check_equal, loop_evaluate, random_case, ranking


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
@example(n=13, num_classes=7, seed=3673, counts=[0, 20, 0, 0, 0, 0, 0], step=0.01)
def test_evaluate_with_ties_and_absent_classes(
    n: int, num_classes: int, seed: int, counts: list[int], step: float
) -> None:
    logits, labels = random_case(n, num_classes, seed)
    logits = np.round(logits / step) * step + 0.0  # step 1 makes many ties
    logits = logits.astype(np.float16)
    places = 15 * torch.from_numpy(logits.astype(np.float64)).softmax(dim=1).numpy()
    assume(np.abs(places - np.round(places)).min() > 1e-4)  # else rounding decides in which bin a probability lies
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


def test_mean_class_accuracy_chooses_for_balanced_test_images() -> None:
    # Of nine images of class 0 all are right and of the one of class 1 none is: 90 % of the images, half of the classes.
    logits, labels = np.eye(3)[[0] * 10], np.array([0] * 9 + [1])
    assert mean_class_accuracy(logits, labels) == 50.0
    assert mean_class_accuracy(np.eye(3)[labels], labels) == 100.0
    assert topk_accuracy(torch.from_numpy(logits), torch.from_numpy(labels)) == 90.0


def test_per_class_accuracy_is_nan_exactly_at_absent_classes() -> None:
    accuracy = per_class_accuracy(np.eye(4)[[0, 0, 2]], np.array([0, 2, 2]))
    assert accuracy.dtype == np.float64
    np.testing.assert_array_equal(accuracy, [100.0, np.nan, 50.0, np.nan])


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


def test_metrics_need_torch_alone() -> None:
    code = (
        "import sys, torch; from sar_cls.metrics import evaluate;"
        "evaluate(torch.eye(3), torch.arange(3), [200, 50, 5]);"
        "import sar_cls.losses, sar_cls.metrics.correction;"
        "assert not {'torchmetrics', 'torchvision', 'scipy', 'mmengine'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
