"""Metrics of segmentation against loops over pixels, and against mmseg's IoUMetric where it is installed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.metrics.segmentation import (
    ADE20K_GROUPS,
    ConfusionMatrix,
    count_pixels,
    evaluate_segmentation,
    frequency_groups,
    predict,
)

IGNORE = 255


def draw(seed: int, num_classes: int, shape: tuple[int, ...] = (3, 5, 7)) -> tuple[Tensor, Tensor]:
    """Predictions that are often right, and labels, of which some are ignored."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, shape, generator=generator)
    wrong = torch.rand(shape, generator=generator) < 0.4
    predictions = torch.where(wrong, torch.randint(num_classes, shape, generator=generator), labels)
    return predictions, labels.masked_fill(torch.rand(shape, generator=generator) < 0.2, IGNORE)


def loops(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> dict[str, Any]:
    """IoU and accuracy of each class by sets of pixels."""
    pairs = [(t, p) for t, p in zip(labels.flat, predictions.flat, strict=True) if t != IGNORE]
    iou, accuracy = [], []
    for c in range(num_classes):
        both = sum(1 for t, p in pairs if t == c and p == c)
        either = sum(1 for t, p in pairs if t == c or p == c)
        truth = sum(1 for t, _ in pairs if t == c)
        iou.append(100 * both / either if either else None)
        accuracy.append(100 * both / truth if truth else None)
    defined = [x for x in iou if x is not None]
    return {
        "iou": iou,
        "accuracy": accuracy,
        "miou": sum(defined) / len(defined),
        "mean_accuracy": sum(a for a in accuracy if a is not None) / sum(a is not None for a in accuracy),
        "pixel_accuracy": 100 * sum(t == p for t, p in pairs) / len(pairs),
        "frequency_weighted_iou": sum(iou[t] for t, _ in pairs) / len(pairs),
        "absent_classes": [str(c) for c in range(num_classes) if accuracy[c] is None],
        "undefined_classes": [str(c) for c in range(num_classes) if iou[c] is None],
        "pixels": len(pairs),
    }


def assert_close(got: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if isinstance(value, list) and value and not isinstance(value[0], str):
            assert got[key] == [None if x is None else pytest.approx(x, rel=1e-12) for x in value], key
        elif isinstance(value, float):
            assert got[key] == pytest.approx(value, rel=1e-12), key
        else:
            assert got[key] == value, key


@pytest.mark.parametrize("num_classes", [2, 5, 30])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops(num_classes: int, seed: int, device: torch.device) -> None:
    """30 classes on 105 pixels leave some of them absent or undefined."""
    predictions, labels = draw(seed, num_classes)
    confusion = ConfusionMatrix(num_classes, device=device)
    for image in range(len(labels)):  # one after the other
        confusion.update(predictions[image].to(device), labels[image].to(device))
    expected = np.zeros((num_classes, num_classes), dtype=np.int64)
    for t, p in zip(labels.numpy().flat, predictions.numpy().flat, strict=True):
        if t != IGNORE:
            expected[t, p] += 1
    np.testing.assert_array_equal(confusion.counts, expected)
    assert confusion.ignored == int((labels == IGNORE).sum()) > 0
    metrics = evaluate_segmentation(confusion.counts)
    assert_close(metrics, loops(predictions.numpy(), labels.numpy(), num_classes))
    json.dumps(metrics, allow_nan=False)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_any_batches_in_any_order(seed: int, num_classes: int) -> None:
    """The same counts however the pixels are cut into batches; and metrics follow a renaming of the classes."""
    predictions, labels = draw(seed, num_classes, (4, 3, 3))
    whole, parts = ConfusionMatrix(num_classes), ConfusionMatrix(num_classes)
    whole.update(predictions, labels)
    other = ConfusionMatrix(num_classes)
    parts.update(predictions[2:].int(), labels[2:].to(torch.int16))
    other.update(predictions[:2].to(torch.uint8), labels[:2].to(torch.uint8))
    parts.merge(other)
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert whole.ignored == parts.ignored
    order = np.random.default_rng(seed).permutation(num_classes)
    if whole.counts.sum():
        plain = evaluate_segmentation(whole.counts)
        renamed = evaluate_segmentation(whole.counts[order][:, order])
        assert renamed["iou"] == [plain["iou"][c] for c in order]
        assert renamed["miou"] == pytest.approx(plain["miou"])
        assert 0 <= plain["miou"] <= 100
    whole.reset()
    assert not whole.counts.any()
    assert whole.ignored == 0


def test_a_hand_computed_matrix() -> None:
    """Class 2 is predicted and nowhere: IoU 0, no accuracy. Class 3 is neither: no IoU, and it is named."""
    counts = np.array([[6, 2, 0, 0], [1, 3, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    metrics = evaluate_segmentation(counts, [10, 0, 5, 0], ["road", "car", "bus", "train"])
    assert metrics["iou"] == [pytest.approx(100 * 6 / 9), pytest.approx(100 * 3 / 8), 0.0, None]
    assert metrics["accuracy"] == [75.0, 50.0, None, None]
    assert metrics["miou"] == pytest.approx(100 * (6 / 9 + 3 / 8) / 3)
    assert metrics["mean_accuracy"] == 62.5
    assert metrics["pixel_accuracy"] == pytest.approx(100 * 9 / 14)
    assert metrics["absent_classes"] == ["bus", "train"]
    assert metrics["undefined_classes"] == ["train"]
    assert metrics["untrained_classes"] == ["car", "train"]
    # By training pixels: road; bus; then car and train, of which train has no IoU.
    assert (metrics["head"], metrics["body"], metrics["tail"]) == (
        pytest.approx(100 * 6 / 9),
        0.0,
        pytest.approx(100 * 3 / 8),
    )
    assert metrics["empty_groups"] == []
    assert "head_index" not in metrics


def test_an_empty_group_is_named() -> None:
    assert frequency_groups([9, 8, 7, 1])["tail"].tolist() == [2, 3]
    metrics = evaluate_segmentation(np.diag([3, 2, 1, 0]), [9, 8, 7, 1])
    assert metrics["tail"] == 100
    assert metrics["empty_groups"] == []
    metrics = evaluate_segmentation(np.diag([3, 2, 0, 0]), [9, 8, 7, 1])
    assert metrics["tail"] is None
    assert metrics["empty_groups"] == ["tail"]


def test_groups_of_ade20k() -> None:
    iou = np.arange(150)
    counts = np.zeros((150, 150), dtype=np.int64)
    counts[np.arange(150), np.arange(150)] = 1000
    counts[np.arange(150), (np.arange(150) + 1) % 150] = iou  # so that no two classes are alike
    metrics = evaluate_segmentation(counts, np.arange(150, 0, -1))
    for name, (first, last) in {"head": (0, 19), "body": (20, 74), "tail": (75, 149)}.items():
        expected = np.mean(metrics["iou"][first : last + 1])
        assert metrics[f"{name}_index"] == pytest.approx(expected)
        assert metrics[name] == pytest.approx(expected)  # its classes go by falling frequency
        assert list(ADE20K_GROUPS[f"{name}_index"]) == list(range(first, last + 1))


@pytest.mark.parametrize(
    ("pixels", "groups"),
    [
        ([5, 1, 9, 1], ([2], [0], [1, 3])),
        ([3, 3], ([0], [], [1])),
        ([1, 2, 3], ([2], [1], [0])),
        (list(range(19)), ([16, 17, 18], list(range(9, 16)), list(range(9)))),
    ],
)
def test_groups_by_frequency(pixels: list[int], groups: tuple) -> None:
    for given_pixels in (pixels, torch.tensor(pixels), np.array(pixels)):
        got = frequency_groups(given_pixels)
        sizes = [group.tolist() for group in got.values()]
        assert sorted(c for size in sizes for c in size) == list(range(len(pixels)))
        assert list(got) == ["head", "body", "tail"]
        if len(pixels) != 19:
            assert sizes == [list(group) for group in groups]
        else:
            assert sizes[0] == groups[0]
            assert len(sizes[1]) == 7


# Logits


def test_logits_at_another_resolution(device: torch.device) -> None:
    """As mmseg resizes them before it takes the largest; and no logits of more than one image exist at that size."""
    torch.manual_seed(0)
    logits, (_, labels) = torch.randn(3, 4, 3, 4, device=device), draw(0, 4, (3, 9, 10))
    labels = labels.to(device)
    expected = F.interpolate(logits, (9, 10), mode="bilinear", align_corners=False).argmax(dim=1)
    assert torch.equal(predict(logits, (9, 10)), expected)
    by_logits, by_classes = ConfusionMatrix(4, device=device), ConfusionMatrix(4, device=device)
    by_logits.update_from_logits(logits, labels)
    by_classes.update(expected, labels)
    np.testing.assert_array_equal(by_logits.counts, by_classes.counts)
    assert torch.equal(predict(logits.half(), (3, 4)), logits.half().argmax(dim=1))


def test_counting_waits_for_nothing() -> None:
    """On the meta device, where whatever reads a value fails."""
    confusion = ConfusionMatrix(5, device="meta")
    labels = torch.empty(2, 8, 8, device="meta", dtype=torch.int64)
    confusion.update(labels, labels)
    confusion.update_from_logits(torch.empty(2, 5, 4, 4, device="meta"), labels)
    assert count_pixels(labels, 5).shape == (5,)


@pytest.mark.cuda
def test_counting_does_not_synchronize() -> None:
    predictions, labels = (tensor.cuda() for tensor in draw(0, 5))
    confusion = ConfusionMatrix(5, device="cuda")
    confusion.update(predictions, labels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        confusion.update(predictions, labels)
        count_pixels(labels, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_pixels_of_a_training_set() -> None:
    _, labels = draw(1, 4)
    expected = [int((labels == c).sum()) for c in range(4)]
    assert count_pixels(labels, 4).tolist() == expected
    assert count_pixels(labels.to(torch.uint8), 4).tolist() == expected
    assert sum(count_pixels(labels, 4, size=(2, 3)).tolist()) == int(
        (labels[:, [0, 2]][:, :, [0, 2, 4]] != IGNORE).sum()
    )


# mmseg


@pytest.mark.parametrize("num_classes", [3, 30])
def test_mmseg_s_metric(num_classes: int) -> None:
    pytest.importorskip("mmseg", reason="mmseg is not installed: pip install 'sar-cls[seg]'")
    from mmseg.evaluation.metrics import IoUMetric

    metric = IoUMetric(ignore_index=IGNORE, iou_metrics=["mIoU"])
    names = [str(c) for c in range(num_classes)]
    metric.dataset_meta = {"classes": names}
    confusion = ConfusionMatrix(num_classes)
    for seed in range(3):
        predictions, labels = draw(seed, num_classes - 2 * (num_classes > 3), (1, 6, 7))  # the last two are nowhere
        metric.process({}, [{"pred_sem_seg": {"data": predictions}, "gt_sem_seg": {"data": labels}}])
        confusion.update(predictions, labels)
    theirs = metric.evaluate(size=3)
    ours = evaluate_segmentation(confusion.counts)
    assert set(ours["undefined_classes"]) >= ({"28", "29"} if num_classes == 30 else set())
    assert theirs["mIoU"] == pytest.approx(ours["miou"], abs=0.006)  # it rounds to two digits
    assert theirs["aAcc"] == pytest.approx(ours["pixel_accuracy"], abs=0.006)
    assert theirs["mAcc"] == pytest.approx(ours["mean_accuracy"], abs=0.006)


# Bad input


def test_a_label_or_a_prediction_out_of_range() -> None:
    """Counted on the device and refused when the figures are read, not silently taken for another class."""
    for predictions, labels in ((torch.tensor([1]), torch.tensor([3])), (torch.tensor([3]), torch.tensor([1]))):
        confusion = ConfusionMatrix(3)
        confusion.update(predictions, labels)
        with pytest.raises(InputError, match=r"1 pixels have a label or a prediction outside 0 to 2 that is not 255"):
            _ = confusion.counts
    confusion = ConfusionMatrix(3, ignore_index=-1)
    confusion.update(torch.tensor([9, 2]), torch.tensor([-1, 2]))  # whatever is predicted where nothing counts
    assert confusion.counts.sum() == 1
    confusion.update(torch.tensor([1]), torch.tensor([255]))
    with pytest.raises(InputError, match="outside 0 to 2"):
        _ = confusion.counts


@pytest.mark.parametrize(
    ("confusion", "arguments", "remedy"),
    [
        (np.zeros((2, 3), dtype=int), {}, r"give integer counts \[C, C\]"),
        (np.zeros((2, 2)), {}, r"give integer counts \[C, C\]"),
        (np.zeros((2, 2), dtype=int), {}, "counts no pixel"),
        (np.array([[1, -1], [0, 1]]), {}, "negative"),
        (np.eye(3, dtype=int), {"train_pixels": [1, 2]}, "each of the 3 classes"),
        (np.eye(3, dtype=int), {"train_pixels": [1, 2, -1]}, "at least 0"),
        (np.eye(3, dtype=int), {"class_names": ["a"]}, "1 names for 3 classes"),
    ],
)
def test_wrong_input(confusion: np.ndarray, arguments: dict[str, Any], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy) as caught:
        evaluate_segmentation(confusion, **arguments)
    assert "\n" not in str(caught.value)


def test_wrong_batches() -> None:
    confusion = ConfusionMatrix(3)
    with pytest.raises(InputError, match="give integers of one shape"):
        confusion.update(torch.zeros(2, 3), torch.zeros(2, 3).long())
    with pytest.raises(InputError, match="give integers of one shape"):
        confusion.update(torch.zeros(2, 3).long(), torch.zeros(3, 2).long())
    for logits, labels in (((2, 4, 3, 3), (2, 3, 3)), ((2, 3, 3, 3), (1, 3, 3)), ((2, 3, 3, 3), (2, 3))):
        with pytest.raises(InputError, match=r"give \[N, 3, H, W\] and \[N, h, w\]"):
            confusion.update_from_logits(torch.zeros(logits), torch.zeros(labels).long())
    with pytest.raises(InputError, match="not those of 3 classes"):
        confusion.merge(ConfusionMatrix(4))
    confusion.merge(torch.eye(3).long())
    assert confusion.counts.tolist() == np.eye(3, dtype=int).tolist()
    with pytest.raises(InputError, match="num_classes is 1"):
        ConfusionMatrix(1)
    with pytest.raises(InputError, match="ignore_index 2 is one of the 3 classes"):
        ConfusionMatrix(3, ignore_index=2)
