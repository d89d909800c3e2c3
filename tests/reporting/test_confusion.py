"""Which classes segmentation nets confuse: from the matrices that they keep, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dense_runs import CLASSES, COUNTS, PLAIN, SAR, make_suite, write_runs

from sar_cls.reporting.confusion import compare_confusion
from sar_cls.reporting.tables.confusion_tables import confusion_tables


def test_the_kept_matrix_says_which_classes_are_confused(tmp_path: Path) -> None:
    suite, runs = make_suite(tmp_path), write_runs(tmp_path / "work")
    plain, sar = compare_confusion(suite, runs, pytest.fail)
    assert (plain.runs, sar.runs) == (2, 2)
    # Of 20 pixels of riders 6 are taken for cars, of the cars none for riders;
    # of 100 of road 20 for cars, of 40 of cars 10 for road.
    worst = plain.pairs[0]
    assert (worst.first, worst.second, worst.lost, worst.returned) == ("Car", "Road", 25.0, 20.0)
    third = next(pair for pair in sar.pairs if pair.first == "Rider" and pair.second == "Car")
    assert (third.lost, third.lost_before, third.counts) == (10.0, 30.0, (COUNTS[4], COUNTS[2]))


def test_pairs_beside_a_baseline_are_of_the_seeds_that_both_have(tmp_path: Path) -> None:
    suite, runs = make_suite(tmp_path), write_runs(tmp_path / "work")
    (_, sar) = compare_confusion(suite, runs, pytest.fail)
    lost = next(pair for pair in sar.pairs if pair.first == "Rider" and pair.second == "Car").lost
    # The baseline has the first seed alone, and SAR's other seed takes all riders for cars.
    plain = [run for run in runs if run[1]["row"] == "plain"]
    other = max((run for run in runs if run[1]["row"] == "sar"), key=lambda run: run[1]["seed"])
    with np.load(other[0] / "segmentation.npz") as arrays:
        kept = dict(arrays)
    for matrix in [name for name in kept if "confusion" in name]:
        kept[matrix][4] = np.array([0, 0, kept[matrix][4].sum(), 0, 0])
    np.savez(other[0] / "segmentation.npz", **kept)
    few = [run for run in runs if run not in plain or run[1]["seed"] == min(r["seed"] for _, r in plain)]
    (_, sar) = compare_confusion(suite, few, pytest.fail)
    assert sar.runs == 2
    assert next(pair for pair in sar.pairs if pair.first == "Rider" and pair.second == "Car").lost == lost


def test_the_groups_are_those_of_segmentation(tmp_path: Path) -> None:
    suite, runs = make_suite(tmp_path), write_runs(tmp_path / "work")
    plain, sar = compare_confusion(suite, runs, pytest.fail)
    assert set(plain.flows) == {"head", "body", "tail"}
    head = CLASSES.index("Sky")
    for line, matrix in ((plain, PLAIN), (sar, SAR)):
        right = 100 * matrix[head, head] / matrix[head].sum()
        assert line.flows["head"]["right"][0].mean == pytest.approx(right)
    text = "\n".join(table.to_markdown() for table in confusion_tables([(suite, [plain, sar])]))
    assert "test pixels" in text
    assert "training pixels" in text
    assert "image" not in text


def test_a_damaged_or_strange_matrix_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    suite, runs = make_suite(tmp_path), write_runs(tmp_path / "work")
    (runs[0][0] / "segmentation.npz").write_bytes(b"")
    record = {**runs[1][1], "train_counts": COUNTS[:-1]}
    said: list[str] = []
    lines = compare_confusion(suite, [runs[0], (runs[1][0], record), *runs[2:]], said.append)
    assert [line.group.row.name for line in lines] == ["sar"]
    assert len(said) == 2
    assert "damaged" in said[0]
    assert "has 5 classes and the record 4" in said[1]
