"""Keeping the small files of finished runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import make_record, write_run

from sar_cls.errors import InputError
from sar_cls.runs import ledger
from sar_cls.runs.keep import keep_runs

HISTORY = "epoch\n" + "".join(f"{epoch}\n" for epoch in range(1, 201))
CLASSES = "class,last_accuracy\n" + "".join(f"{label},50.0\n" for label in range(10))


def test_records_and_histories_are_kept_and_read_back__weights_are_not(tmp_path: Path) -> None:
    work_dir, folder = tmp_path / "work", tmp_path / "results"
    record = write_run(work_dir, make_record("cifar100", "resnet18", 1024, 78.0))
    run_dir = work_dir / "cifar100" / "resnet18" / "seed1024"
    (run_dir / "history.csv").write_text(HISTORY)
    (run_dir / "per_class.csv").write_text(CLASSES)
    (run_dir / "last.pth").write_bytes(b"weights")
    (run_dir / "test_outputs.npz").write_bytes(b"logits")

    runs = ledger.scan(work_dir)
    (copy,) = keep_runs(runs, folder)
    assert sorted(path.name for path in copy.iterdir()) == ["history.csv", "per_class.csv", "record.json"]
    assert [kept for _, kept in ledger.scan(folder)] == [record]
    keep_runs(runs, folder)  # again: the same
    assert len(ledger.scan(folder)) == 1


def test_a_run_that_was_moved_aside_is_not_mixed_with_its_successor(tmp_path: Path) -> None:
    work_dir, folder = tmp_path / "work", tmp_path / "results"
    old = write_run(work_dir, make_record("cifar100", "resnet18", 1, 70.0))
    row = work_dir / "cifar100" / "resnet18"
    (row / "seed1" / "history.csv").write_text(HISTORY)
    (row / "seed1").rename(row / "seed1-old")
    new = write_run(work_dir, make_record("cifar100", "resnet18", 1, 78.0))
    keep_runs(ledger.scan(work_dir), folder)
    kept = {place.name: record for place, record in ledger.scan(folder)}
    assert kept == {"seed1": new, "seed1-old": old}
    assert not (folder / "cifar100" / "resnet18" / "seed1" / "history.csv").exists()


def test_two_runs_of_one_place_are_refused_before_anything_is_copied(tmp_path: Path) -> None:
    work_dir, folder = tmp_path / "work", tmp_path / "results"
    write_run(work_dir, make_record("cifar100", "resnet18", 1, 70.0))
    (work_dir / "cifar100").rename(work_dir / "cifar100-old")
    write_run(work_dir, make_record("cifar100", "resnet18", 1, 78.0))
    with pytest.raises(
        InputError, match=r"both cifar100/resnet18/seed1: rename the folder of one of the runs"
    ) as caught:
        keep_runs(ledger.scan(work_dir), folder)
    assert "cifar100-old" in str(caught.value)
    assert not folder.exists()


def test_nothing_of_an_earlier_run_of_the_same_name_stays(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    for name, top1 in (("first", 70.0), ("second", 78.0)):
        record = write_run(tmp_path / name, make_record("cifar100", "resnet18", 1, top1))
        run_dir = tmp_path / name / "cifar100" / "resnet18" / "seed1"
        if name == "first":
            (run_dir / "history.csv").write_text(HISTORY)
        (copy,) = keep_runs([(run_dir, record)], folder)
        assert (copy / "history.csv").exists() == (name == "first")
    (run_dir / "history.csv").write_text(HISTORY)
    keep_runs([(run_dir, record)], folder)
    (run_dir / "history.csv").unlink()
    keep_runs([(run_dir, record)], folder)  # the same run: what was kept of it stays
    assert (copy / "history.csv").read_text() == HISTORY


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("history.csv", "epoch\n1\n2\n", "it ends at epoch 2 and the run at 200"),
        ("history.csv", HISTORY[:-1], "its last line is cut off"),
        ("per_class.csv", "class,last_accuracy\n0,50.0\n", "has 1 classes and the record 10"),
    ],
)
def test_a_damaged_file_is_not_kept(tmp_path: Path, name: str, text: str, words: str) -> None:
    work_dir, folder = tmp_path / "work", tmp_path / "results"
    write_run(work_dir, make_record("cifar100", "resnet18", 1, 78.0))
    run_dir = work_dir / "cifar100" / "resnet18" / "seed1"
    (run_dir / "history.csv").write_text(HISTORY)
    (run_dir / "per_class.csv").write_text(CLASSES)
    whole = (run_dir / name).read_text()
    (run_dir / name).write_text(text)
    said: list[str] = []
    (copy,) = keep_runs(ledger.scan(work_dir), folder, said.append)
    (sentence,) = said
    assert sentence.startswith(f"a damaged file is not kept: {run_dir / name}")
    assert words in sentence
    assert sorted(path.name for path in copy.iterdir()) == sorted(
        {"history.csv", "per_class.csv", "record.json"} - {name}
    )
    (copy / name).write_text(whole)  # of this very run, kept when it was whole
    keep_runs(ledger.scan(work_dir), folder, said.append)
    assert (copy / name).read_text() == whole


@pytest.mark.parametrize("field", ["suite", "row", "run"])
def test_a_record_that_leads_out_of_the_folder_is_not_kept(tmp_path: Path, field: str) -> None:
    work_dir, folder = tmp_path / "work", tmp_path / "deep" / "er" / "results"
    record = write_run(work_dir, make_record("cifar100", "resnet18", 1024, 78.0)) | {field: "../../../outside"}
    with pytest.raises(InputError, match=f"names a {field} that is no plain name"):
        keep_runs([(work_dir / "cifar100" / "resnet18" / "seed1024", record)], folder)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"record.json"}
    assert not list(tmp_path.rglob("outside"))
