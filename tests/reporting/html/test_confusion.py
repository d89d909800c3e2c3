"""Confusion, reliability and their encoding, against plain loops."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from synthetic_runs import write_outputs

from sar_cls.errors import InputError
from sar_cls.metrics import reliability_bins
from sar_cls.reporting.html.confusion import encoded, outcomes_of, pooled, reliability


def folders(tmp_path: Path, *numbers: int, classes: int = 10) -> list[Path]:
    found = []
    for number in numbers:
        folder = tmp_path / str(number)
        folder.mkdir()
        write_outputs(folder, number, num_images=300, num_classes=classes)
        found.append(folder)
    return found


def test_runs_are_added_up(tmp_path: Path) -> None:
    runs = folders(tmp_path, 1, 2)
    expected = np.zeros((10, 10), int)
    for run in runs:
        with np.load(run / "test_outputs.npz") as file:
            for logits, label in zip(file["logits"], file["labels"], strict=True):
                said = max(
                    range(10), key=lambda one, logits=logits: (logits[one], -one)
                )  # a tie goes to the lower class
                expected[label, said] += 1
    found = pooled([outcomes_of(run) for run in runs])
    assert found.confusion.tolist() == expected.tolist()
    assert (found.runs, found.names) == (2, None)


def test_reliability_is_that_of_the_metrics(tmp_path: Path) -> None:
    runs = folders(tmp_path, 3, 4)
    found = reliability(pooled([outcomes_of(run) for run in runs]))
    files = [np.load(run / "test_outputs.npz") for run in runs]
    bins = reliability_bins(
        np.concatenate([f["logits"] for f in files]), np.concatenate([f["labels"] for f in files]), 15
    )
    full = bins["count"] > 0
    assert found["count"] == bins["count"][full].tolist()
    np.testing.assert_allclose(found["accuracy"], bins["accuracy"][full], rtol=1e-3)
    np.testing.assert_allclose(found["confidence"], bins["confidence"][full], rtol=1e-3)
    gap = np.abs(bins["accuracy"] - bins["confidence"])[full]
    assert found["ece"] == pytest.approx(float((gap * bins["count"][full]).sum() / 600), rel=1e-3)


def test_a_class_without_an_image_has_no_accuracy(tmp_path: Path) -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 0]]
    np.savez(tmp_path / "test_outputs.npz", logits=logits, labels=np.array([0, 0, 1]))
    np.testing.assert_array_equal(outcomes_of(tmp_path).accuracies, [50, 0, np.nan])


def test_damaged_outputs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test_outputs.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="is damaged"):
        outcomes_of(tmp_path)


@given(
    st.integers(1, 12).flatmap(
        lambda size: arrays.arrays(
            np.int64, (size, size), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 65535, 65536, 10**6])
        )
    )
)
def test_both_encodings_can_be_read_back(confusion: np.ndarray) -> None:
    found = encoded(confusion)
    data = base64.b64decode(found["data"])
    read = np.zeros(confusion.size, int)
    if found["way"] == "dense":
        read[:] = np.frombuffer(data, "<u4" if found["wide"] else "<u2")
    else:
        pairs = np.frombuffer(data, "<u4").reshape(-1, 2)
        read[pairs[:, 0]] = pairs[:, 1]
    assert read.reshape(confusion.shape).tolist() == confusion.tolist()
