"""The ledger: all finished runs, and only those."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_record, write_run

from sar_cls.errors import InputError
from sar_cls.runs.ledger import place_of_runs, scan, unfinished


def test_run_directories_and_records_sorted_by_path(tmp_path: Path) -> None:
    sar = write_run(tmp_path, make_record("digits", "sar", 7, 98.0))
    baseline = write_run(tmp_path, make_record("digits", "baseline", 7, 97.0))
    folder = tmp_path / "digits"
    assert scan(tmp_path) == [(folder / "baseline" / "seed7", baseline), (folder / "sar" / "seed7", sar)]


def test_bad_records_and_copies_are_passed_over_with_a_sentence(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("digits", "sar", 7, 98.0))
    half = tmp_path / "digits" / "sar" / "seed8" / "record.json"
    half.parent.mkdir()
    half.write_text((tmp_path / "digits" / "sar" / "seed7" / "record.json").read_text(encoding="utf-8")[:200])
    unfinished = tmp_path / "digits" / "sar" / "seed9"
    unfinished.mkdir()
    shutil.copytree(tmp_path / "digits" / "sar" / "seed7", tmp_path / "digits" / "sar" / "seed7-copy")
    sentences: list[str] = []
    found = scan(tmp_path, sentences.append)
    assert [run_dir.name for run_dir, _ in found] == ["seed7"]
    assert len(sentences) == 2
    assert "is a copy of" in sentences[0]
    assert str(half) in sentences[1]
    assert "half-written" in sentences[1]


def test_runs_that_were_begun_and_have_no_record(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("digits", "sar", 7, 98.0))
    for row, name, file in (("sar", "seed9", "last.pth"), ("car", "seed8", "config.py"), ("car", "notes", "notes.txt")):
        (tmp_path / "digits" / row / name).mkdir(parents=True)
        (tmp_path / "digits" / row / name / file).touch()
    found = unfinished(tmp_path)
    assert [str(run.relative_to(tmp_path)) for run in found] == ["digits/car/seed8", "digits/sar/seed9"]
    assert unfinished(tmp_path / "nothing") == []


def test_where_runs_are_when_they_are_not_here(tmp_path: Path) -> None:
    for suite in ("digits", "cub200"):
        write_run(tmp_path / "results" / suite, make_record(suite, "sar", 7, 98.0))
    work = tmp_path / "results" / "cub200"
    assert place_of_runs(work / "cub200") == work
    assert place_of_runs(work / "cub200" / "sar") == work
    assert place_of_runs(tmp_path / "results") == work
    assert place_of_runs(tmp_path / "results", "digits") == tmp_path / "results" / "digits"
    assert place_of_runs(tmp_path / "results", "camvid") is None
    assert place_of_runs(tmp_path / "nothing") is None


def test_by_default_the_sentence_is_a_python_warning(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "record.json").write_text("{}")
    with pytest.warns(UserWarning, match="a run is left out"):
        assert scan(tmp_path) == []


def test_work_directory_that_is_not_there(tmp_path: Path) -> None:
    assert scan(tmp_path / "nothing") == []


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = write_run(tmp_path, make_record("digits", "sar", 7, 98.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 7, 98.0))
    scandir = os.scandir

    def denied(path: Path) -> Any:  # permissions do not hold for root
        if Path(path).name == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    closed, sentences = "cifar100", []
    assert [found for _, found in scan(tmp_path, sentences.append)] == [record]
    assert sentences == [
        f"runs are left out: {tmp_path / 'cifar100'}: permission denied: give this user the right to it."
    ]
    closed = tmp_path.name
    with pytest.raises(InputError, match="permission denied"):
        scan(tmp_path)


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    record = write_run(tmp_path, make_record("digits", "sar", 7, 98.0))
    for folder in (tmp_path, tmp_path / "digits", tmp_path / "digits" / "sar"):
        (folder / "loop").symlink_to(folder / "loop")
        (folder / "dangling").symlink_to(folder / "nowhere")
    assert [found for _, found in scan(tmp_path)] == [record]
