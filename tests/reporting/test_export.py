"""One flat line a run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from report_pages import SEEDS, make_suite, write_runs
from synthetic_runs import make_record, write_run

from sar_cls.reporting.export import COLUMNS, flat_lines, write_export
from sar_cls.runs import ledger

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "export.md"


def test_a_line_a_run_that_pandas_reads(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert write_export([make_suite(tmp_path)], write_runs(tmp_path / "work"), path, pytest.fail) == 15
    frame = pd.read_json(path, lines=True)
    assert len(frame) == 15
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    sar = frame[frame["row"] == "mixup_sar"].set_index("seed")
    assert sar.loc[1024, "value"] == sar.loc[1024, "last_top1"] == 40.7
    assert (sar["paper"] == 40.6).all()
    assert sar["reproduction"].all()
    second = frame[frame["row"] == "mixup_sar_mislas"]
    assert set(second["stage1_run_id"]) == set(frame[frame["row"] == "mixup_sar"]["run_id"])
    assert frame["imbalance"].eq(100).all()


def test_every_line_is_flat_and_has_the_same_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "work", make_record("cifar100_lt", "mixup", 1, 40.0, overrides={"val_fraction": 0.1}, epochs=3,
                                             metrics={"empty_groups": ["few_shot"], "few_shot": None}))  # fmt: skip
    write_run(
        tmp_path / "work", make_record("cifar100_lt", "own", 1, 40.0, extra={"mode": "eager", "nested": {"a": 1}})
    )
    path = tmp_path / "runs.jsonl"
    write_export([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), path, pytest.fail)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert list(first) == list(second)
    assert not any(isinstance(value, (list, dict)) for line in (first, second) for value in line.values())
    assert (first["override_val_fraction"], second["override_val_fraction"]) == (0.1, None)
    assert (first["reproduction"], first["paper"], first["deviations"]) == (
        False,
        None,
        "3 of 200 epochs; val fraction 0.1",
    )
    assert (second["extra_mode"], first["last_few_shot"]) == ("eager", None)
    assert "last_empty_groups" not in first


def test_what_has_no_row_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "work", make_record("cifar100_lt", "gone", 1, 40.0))
    said: list[str] = []
    assert flat_lines([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), said.append) == []
    assert "no row 'gone'" in said[0]


def test_no_run_is_an_empty_file(tmp_path: Path) -> None:
    assert write_export([make_suite(tmp_path)], [], tmp_path / "runs.jsonl", pytest.fail) == 0
    assert (tmp_path / "runs.jsonl").read_text() == ""


def test_the_document_names_every_column_in_its_order() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    named = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert [name for name in named if name in COLUMNS] == list(COLUMNS)
    assert [name for name in named if name not in COLUMNS] == [
        "last_METRIC",
        "best_METRIC",
        "override_NAME",
        "extra_NAME",
        "geometry_SPLIT_GROUP_FIGURE",
    ]


def test_both_epochs_of_a_run(tmp_path: Path) -> None:
    (line, *_) = flat_lines([make_suite(tmp_path)], write_runs(tmp_path / "work", SEEDS[:1]), pytest.fail)
    assert line["best_top1"] == line["last_top1"] + 0.5


def test_a_run_that_two_suites_show_is_one_line(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work", SEEDS[:1])
    text = 'title = "Other"\nmetric = "top1"\n\n[[rows]]\nname = "mixup"\nsuite = "cifar100_lt"\nlabel = "Taken over"\n'
    own, other = make_suite(tmp_path), make_suite(tmp_path, text, "other")
    for suites in ([own, other], [other, own]):
        lines = flat_lines(suites, runs, pytest.fail)
        assert len({line["run_id"] for line in lines}) == len(lines) == 5
        assert {line["label"] for line in lines if line["row"] == "mixup"} == {"MixUp"}
