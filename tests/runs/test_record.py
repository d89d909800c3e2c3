"""Records: written whole or not at all, and nothing foreign is taken for one."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_record

from sar_cls.cli import ROOT
from sar_cls.errors import InputError
from sar_cls.runs.record import is_finished, read_record, stage1_reference, write_record


def test_written_record_is_read_back_with_what_the_writer_adds(tmp_path: Path) -> None:
    run_dir = tmp_path / "seed7"
    run_dir.mkdir()
    assert not is_finished(run_dir)
    write_record(run_dir, make_record("digits", "sar", 7, 98.5))
    record = read_record(run_dir)
    assert is_finished(run_dir)
    assert (record["run"], record["stage"], record["stage1"], record["best_on"]) == ("seed7", 1, None, "test")
    assert len(record["run_id"]) == 32
    assert record["metrics"]["last"]["top1"] == 98.5
    assert [path.name for path in run_dir.iterdir()] == ["record.json"]
    if hasattr(os, "getuid"):
        assert (run_dir / "record.json").stat().st_mode & 0o777 == 0o644


def test_numpy_values_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    metrics = {"ece": np.float32(2.5), "nll": float("nan"), "per_class": np.array([1.0, np.inf])}
    write_record(tmp_path, make_record("digits", "sar", np.int64(7), np.float64(98.5), metrics=metrics))
    record = read_record(tmp_path)
    assert record["metrics"]["last"] == {"top1": 98.5, "ece": 2.5, "nll": None, "per_class": [1.0, None]}
    assert record["seed"] == 7


@pytest.mark.parametrize("field", ["suite", "metrics", "data_fingerprint", "git", "device", "wall_seconds"])
def test_missing_field_is_named_and_nothing_is_written(tmp_path: Path, field: str) -> None:
    record = make_record("digits", "sar", 7, 98.5)
    del record[field]
    with pytest.raises(ValueError, match=f"'{field}' is missing"):
        write_record(tmp_path, record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "7"}, "'seed' is str"),
        ({"epochs": True}, "'epochs' is bool"),
        ({"epochs": 0}, "impossible"),
        ({"colour": "red"}, "'colour' is unknown"),
        ({"stage": 2}, "must name its first-stage run"),
        ({"stage1": {"run_id": "x"}}, r"stage1\['suite'\] is missing"),
        ({"train_counts": [1.5]}, "whole numbers"),
    ],
)
def test_wrong_fields_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_record(tmp_path, {**make_record("digits", "sar", 7, 98.5), **changes})


def test_both_epochs_must_have_metrics(tmp_path: Path) -> None:
    record = make_record("digits", "sar", 7, 98.5)
    del record["metrics"]["best"]
    with pytest.raises(ValueError, match=r"metrics\['best'\] is missing"):
        write_record(tmp_path, record)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"schema": 1, "run', b"[1, 2]", b'{"schema": 0}', b'{"hello": "world"}', b"\xff\xfe\x00", b"[" * 99999],
)
def test_damaged_and_foreign_files_give_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(InputError, match=r"record.json is (damaged|not a run record)") as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)
    assert not is_finished(tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_no_record_holds(tmp_path: Path, number: str) -> None:
    """In ``extra``, whose values are anybody's: reports and exports could not write them."""
    write_record(tmp_path, make_record("digits", "sar", 7, 98.5, extra={"mine": 0.125}))
    path = tmp_path / "record.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.125", number), encoding="utf-8")
    with pytest.raises(InputError, match=r"record.json is damaged"):
        read_record(tmp_path)


def test_a_foreign_file_is_kept_when_the_run_ends(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("mine", encoding="utf-8")
    write_record(tmp_path, make_record("digits", "sar", 7, 98.5))
    assert is_finished(tmp_path)
    assert (tmp_path / "record.json.unreadable").read_text(encoding="utf-8") == "mine"


def test_a_record_of_a_newer_version_is_neither_read_nor_displaced(tmp_path: Path) -> None:
    newer = json.dumps({"schema": 99, "hello": "world"})
    (tmp_path / "record.json").write_text(newer, encoding="utf-8")
    for attempt in (
        read_record,
        is_finished,
        lambda folder: write_record(folder, make_record("digits", "sar", 7, 98.5)),
    ):
        with pytest.raises(InputError, match=r"newer version of this project \(schema 99, this one reads 1\)"):
            attempt(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"record.json": newer}


def test_a_record_that_may_not_be_read_is_not_displaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, make_record("digits", "sar", 7, 98.5))
    before = (tmp_path / "record.json").read_bytes()

    def denied(path: Path, **_: object) -> str:  # permissions do not hold for root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_text", denied)
    for attempt in (
        read_record,
        is_finished,
        lambda folder: write_record(folder, make_record("digits", "sar", 7, 1.0)),
    ):
        with pytest.raises(InputError, match=r"record\.json: permission denied: give this user the right to it"):
            attempt(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"record.json": before}


def test_a_folder_in_the_place_of_the_record(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(InputError, match=r"record\.json: a folder is where a file should be: move it away"):
        is_finished(tmp_path)


@pytest.mark.parametrize("field", ["suite", "row", "run"])
@pytest.mark.parametrize("name", ["../..", "a/b", "a\\b", "..", ".", ".hidden", "", "C:", "a\nb", "x" * 256, "ü" * 128])
def test_names_that_lead_elsewhere(tmp_path: Path, field: str, name: str) -> None:
    record = make_record("digits", "sar", 7, 98.5) | {field: name}
    with pytest.raises(ValueError, match=f"the field '{field}' is no plain name"):
        write_record(tmp_path, record)
    (tmp_path / "one").mkdir()
    write_record(tmp_path / "one", make_record("digits_lt", "mixup", 7, 90.0))
    reference = stage1_reference(read_record(tmp_path / "one")) | {field: name}
    with pytest.raises(ValueError, match=f"stage1: the field '{field}' is no plain name"):
        write_record(tmp_path, make_record("digits_lt", "mixup_mislas", 7, 92.0, stage1=reference))


@pytest.mark.parametrize("name", ["seed1-epochs3-if2.5-val0.2-timm_vit-bf16", "naïve run", "x" * 255])
def test_names_of_folders(tmp_path: Path, name: str) -> None:
    write_record(tmp_path, make_record("digits", "sar", 7, 98.5, run=name))
    assert read_record(tmp_path)["run"] == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "7"}, "'seed' is str"),
        ({"seed": -1}, "'seed' is no whole number from 0"),
        ({"seed": 2**32}, "'seed' is no whole number from 0"),
        ({"precision": 32}, "'precision' is int"),
        ({"precision": "../fp32"}, "'precision' is no plain name"),
        ({"data_fingerprint": {"train": 7, "test": "b"}}, r"data_fingerprint\['train'\] is no text"),
        ({"data_fingerprint": {}}, r"data_fingerprint\['t\w+'\] is no text"),
        ({"overrides": {"val_fraction": "0.1"}}, r"overrides\['val_fraction'\] is not a number between 0 and 1"),
        ({"overrides": {"imbalance": "many"}}, r"overrides\['imbalance'\] is not a number of at least 1"),
        ({"overrides": {"imbalance": 10**400}}, r"overrides\['imbalance'\]"),
        ({"overrides": {"imbalance": True}}, r"overrides\['imbalance'\]"),
        ({"overrides": {"something": [1]}}, r"overrides\['something'\] is not a plain value"),
        ({"metrics": {"last": {"top1": "98.5"}, "best": {"top1": 1}}}, r"metrics\['last'\]\['top1'\] is no number"),
        ({"metrics": {"last": {"top1": 1}, "best": {"top1": {}}}}, r"metrics\['best'\]\['top1'\] is no number"),
        ({"metrics": {"last": [1], "best": {"top1": 1}}}, r"metrics\['last'\] is missing"),
        ({"train_counts": [True]}, "whole numbers"),
        ({"best_on": "train"}, "'best_on' is neither test nor val"),
        ({"git": {"commit": 7, "dirty": False}}, r"git\['commit'\] is no text"),
        ({"stage1": {"seed": "1"}}, r"stage1\['seed'\] is str"),
        ({"stage1": {"overrides": {"imbalance": "x"}}}, r"stage1: overrides\['imbalance'\]"),
    ],
    ids=repr,
)
def test_values_of_a_wrong_kind_are_found_when_a_record_is_read(tmp_path: Path, changes: dict, message: str) -> None:
    (tmp_path / "one").mkdir()
    record = read_record(write_record(tmp_path / "one", make_record("digits_lt", "mixup", 7, 90.0)).parent)
    if "stage1" in changes:
        changes = {"stage": 2, "stage1": stage1_reference(record) | changes["stage1"]}
    (tmp_path / "record.json").write_text(json.dumps(record | changes), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_record_that_is_kept_in_the_repository_is_sound() -> None:
    folders = [path.parent for path in (ROOT / "results").glob("**/record.json")]
    assert len(folders) > 20
    for folder in folders:
        assert read_record(folder)["run"] == folder.name


def test_each_foreign_file_is_kept(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "record.json").write_text(text, encoding="utf-8")
        write_record(tmp_path, make_record("digits", "sar", 7, 98.5))
    kept = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.unreadable*")}
    assert kept == {"record.json.unreadable": "one", "record.json.unreadable.1": "two"}


def test_failing_write_leaves_the_old_record_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, make_record("digits", "sar", 7, 98.5))
    before = (tmp_path / "record.json").read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_record(tmp_path, make_record("digits", "sar", 7, 11.0))
    assert (tmp_path / "record.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_second_stage_names_its_run(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write_record(tmp_path / "one", make_record("digits_lt", "mixup", 7, 90.0))
    stage1 = read_record(tmp_path / "one")
    write_record(tmp_path / "two", make_record("digits_lt", "mixup_mislas", 7, 92.0, stage1=stage1_reference(stage1)))
    record = read_record(tmp_path / "two")
    assert record["stage"] == 2
    assert record["stage1"]["run_id"] == stage1["run_id"]
    assert json.dumps(record["stage1"]).count(str(tmp_path)) == 0


def test_a_folder_of_runs_is_not_called_unfinished(tmp_path: Path) -> None:
    for name in ("seed2", "seed1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").touch()
    with pytest.raises(InputError, match=r"it is no run, it holds 2; name one, such as .*seed1\.$"):
        read_record(tmp_path)
