"""Metrics computed anew from the saved logits."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_record, write_run

from sar_cls.errors import InputError
from sar_cls.runs.outputs import read_outputs, recompute

LOGITS = np.array([[3, 1, 0], [3, 1, 0], [0, 1, 3], [3, 1, 0]], dtype=np.float16)
LABELS = np.array([0, 1, 2, 0])


def test_recomputed_metrics_replace_the_recorded_ones_and_others_stay(tmp_path: Path) -> None:
    record = write_run(
        tmp_path, make_record("digits", "sar", 7, 11.0, metrics={"of_old": 5.0}, train_counts=[200, 50, 5])
    )
    run_dir = tmp_path / "digits" / "sar" / "seed7"
    np.savez(run_dir / "test_outputs.npz", logits=LOGITS, logits_best=LOGITS[[0, 0, 2, 0]], labels=LABELS)
    new = recompute(record, run_dir)
    assert new["metrics"]["last"]["top1"] == 75.0
    assert new["metrics"]["last"]["many_shot"] == 100.0
    assert new["metrics"]["last"]["medium_shot"] == 0.0
    assert new["metrics"]["last"]["of_old"] == 5.0
    assert new["metrics"]["best"]["top1"] == 75.0
    assert record["metrics"]["last"]["top1"] == 11.0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"no archive", pickle.dumps([1])])
def test_damaged_files_give_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_outputs.npz").write_bytes(content)
    with pytest.raises(InputError, match="is damaged") as caught:
        read_outputs(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_missing_array(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_outputs(tmp_path)
    np.savez(tmp_path / "test_outputs.npz", logits=LOGITS)
    with pytest.raises(InputError, match="is damaged"):
        read_outputs(tmp_path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "test_outputs.npz", logits=np.array([{}], dtype=object), labels=LABELS, allow_pickle=True)
    with pytest.raises(InputError, match="is damaged"):
        read_outputs(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS[0]}, "logits does not fit labels"),
        ({"logits": LOGITS[:3]}, "logits does not fit labels"),
        ({"logits": LOGITS.astype(np.str_)}, "logits does not fit labels"),
        ({"labels": LABELS.astype(float)}, "labels is no row of whole numbers"),
        ({"labels": LABELS + 1}, "logits and labels have other classes"),
        ({"labels": LABELS - 1}, "logits and labels have other classes"),
        ({"logits_best": LOGITS[:, :2]}, "logits_best and labels have other classes"),
        ({"val_logits": LOGITS}, "val_labels is no row of whole numbers"),
        ({"classes": np.array(["a", "b"])}, "classes are not as many"),
    ],
    ids=str,
)
def test_arrays_that_cannot_be_of_one_run(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "test_outputs.npz", **{"logits": LOGITS, "labels": LABELS} | arrays)
    with pytest.raises(InputError, match=rf"is damaged \({message}"):
        read_outputs(tmp_path)


def test_logits_of_other_classes_than_the_record(tmp_path: Path) -> None:
    record = write_run(tmp_path, make_record("digits", "sar", 7, 11.0))  # 10 classes
    run_dir = tmp_path / "digits" / "sar" / "seed7"
    np.savez(run_dir / "test_outputs.npz", logits=LOGITS, labels=LABELS)
    with pytest.raises(
        InputError, match=r"have 3 classes and its record 10; move the folder .* away and run this row again"
    ):
        recompute(record, run_dir)
