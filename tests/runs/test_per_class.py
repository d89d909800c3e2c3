"""The accuracies of the classes, against counting by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_outputs

from sar_cls.errors import InputError
from sar_cls.runs.per_class import last_accuracies, write_per_class

# Right at the last epoch: one of three of class 0, the one of class 1, none of class 2; class 3 has no test image.
LABELS = np.array([0, 0, 0, 1, 2])
LAST = np.eye(4, dtype=np.float16)[[0, 1, 2, 1, 0]]
BEST = np.eye(4, dtype=np.float16)[[0, 0, 2, 1, 2]]
RECORD = {"train_counts": [50, 20, 8, 3]}


def lines(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_line_for_each_class(tmp_path: Path) -> None:
    names = np.array(["apple", "a, b", 'the "sea"', "Möwe"])
    np.savez(tmp_path / "test_outputs.npz", logits=LAST, logits_best=BEST, labels=LABELS, classes=names)
    path = write_per_class(tmp_path, RECORD)
    assert path == tmp_path / "per_class.csv"
    assert lines(path) == [
        ["class", "name", "train_count", "last_accuracy", "best_accuracy"],
        ["0", "apple", "50", "33.3333", "66.6667"],
        ["1", "a, b", "20", "100.0000", "100.0000"],
        ["2", 'the "sea"', "8", "0.0000", "100.0000"],
        ["3", "Möwe", "3", "", ""],
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["per_class.csv", "test_outputs.npz"]


def test_without_names_and_without_the_best_epoch(tmp_path: Path) -> None:
    np.savez(tmp_path / "test_outputs.npz", logits=LAST, labels=LABELS)
    (tmp_path / "per_class.csv").write_text("of old")
    assert lines(write_per_class(tmp_path, RECORD))[1:3] == [
        ["0", "", "50", "33.3333", ""],
        ["1", "", "20", "100.0000", ""],
    ]


@pytest.mark.parametrize("counts", [[50, 20, 8], [50, 20, 8, 3, 1]])
def test_logits_of_other_classes_than_the_record(tmp_path: Path, counts: list[int]) -> None:
    np.savez(tmp_path / "test_outputs.npz", logits=LAST, logits_best=BEST, labels=LABELS)
    with pytest.raises(InputError, match=f"have 4 classes and its record {len(counts)}"):
        write_per_class(tmp_path, {"train_counts": counts})
    assert not (tmp_path / "per_class.csv").exists()


def test_logits_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        write_per_class(tmp_path, RECORD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing"),
        ("", "damaged"),
        ("a,b\n1,2\n", "damaged"),
        ("class,last_accuracy\n0,much\n", "damaged"),
        ("class,last_accuracy\n0,50.0\n2,60.0\n", "the classes are not 0, 1, 2"),
        ("class,last_accuracy\n0,50.0\n0,60.0\n", "the classes are not 0, 1, 2"),
        ("class,last_accuracy\n0,50.0\n1,6", "its last line is cut off"),
    ],
)
def test_a_kept_file_that_is_missing_or_damaged(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "per_class.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        last_accuracies(tmp_path)
    assert f"move the folder {tmp_path} away and run this row again" in str(error.value)


def test_a_file_that_was_cut_off_at_the_end_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "per_class.csv").write_text("class,last_accuracy\n0,50.0\n1,60.0\n")
    assert last_accuracies(tmp_path, 2).tolist() == [50.0, 60.0]
    with pytest.raises(InputError, match=r"has 2 classes and the record 3; move the folder .* away"):
        last_accuracies(tmp_path, 3)


def test_accuracies_of_other_classes_than_the_record(tmp_path: Path) -> None:
    write_outputs(tmp_path, 0, num_classes=3, num_images=20)
    assert len(last_accuracies(tmp_path, 3)) == 3
    with pytest.raises(InputError, match=r"test_outputs.npz has 3 classes and the record 4; move the folder .* away"):
        last_accuracies(tmp_path, 4)


def test_a_kept_file_with_a_class_without_test_images(tmp_path: Path) -> None:
    (tmp_path / "per_class.csv").write_text("class,name,train_count,last_accuracy,best_accuracy\n1,b,3,25,\n0,a,5,,\n")
    np.testing.assert_array_equal(last_accuracies(tmp_path), [np.nan, 25.0])
