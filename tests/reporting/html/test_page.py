"""The report as text: what it holds, what it keeps to itself, and what it does without."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_pages import COUNTS, NO_SCRIPT, SEEDS, make_suite, write_runs
from synthetic_runs import make_record, write_outputs, write_run

from sar_cls.reporting.html import classes
from sar_cls.reporting.html.page import SCRIPTS, STYLES, TEMPLATES, render, write_report
from sar_cls.reporting.tables.suite_tables import Table
from sar_cls.runs import ledger


def data_of(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return json.loads(match.group(1))


def entries_of(text: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for view in data_of(text)["views"] for entry in view["entries"]}


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_everything_that_is_known_is_there(tmp_path: Path, warnings: list[str]) -> None:
    runs = write_runs(tmp_path / "work")
    text = render([make_suite(tmp_path)], runs, warn=warnings.append)
    assert len(warnings) == 1
    assert "cifar100_lt/own/seed1024 and 2 more have no features" in warnings[0]
    entries = entries_of(text)
    sar = entries["MixUp+SAR"]
    assert sar["delta"]["mean"] == pytest.approx(1.1)
    assert sar["gain"] == pytest.approx(1.1)
    assert set(sar["curves"]) >= {"at", "unit", "test_top1", "loss", "share_gate_open"}
    assert len(sar["accuracy"]) == 10
    assert (sar["accuracyRuns"], sar["confusionRuns"], sar["baselineEntry"]) == (3, 3, entries["MixUp"]["key"])
    assert len(data_of(text)["records"]) == 15
    for known in (
        "MixUp+CAR loses 1.50 points",
        "not run",
        "hash-of-mixup_sar",
        "0123456789",
        "a CPU",
        "--suite cifar100_lt",
        "Tab. 10",
    ):
        assert known in text


def test_the_accuracy_per_class_is_the_mean_over_the_seeds(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work")
    found = entries_of(render([make_suite(tmp_path)], runs, warn=lambda _: None))["MixUp"]["accuracy"]
    expected = np.zeros(10)
    for number in range(len(SEEDS)):
        with np.load(tmp_path / "work" / "cifar100_lt" / "mixup" / f"seed{SEEDS[number]}" / "test_outputs.npz") as file:
            right = file["logits"].argmax(1) == file["labels"]
            expected += [100 * right[file["labels"] == label].mean() / 3 for label in range(10)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_nothing_in_a_run_becomes_markup(tmp_path: Path) -> None:
    extra = {"data_order": "official archive", "remark": NO_SCRIPT}
    places = {"extra": extra, "backbone": NO_SCRIPT, "git": {"commit": NO_SCRIPT}, "machine": {"cpu": NO_SCRIPT}}
    record = make_record("cifar100_lt", "mixup", 1, 40.0, **places)
    write_run(tmp_path / "work", record)
    text = render([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), title=NO_SCRIPT, warn=lambda _: None)
    assert "<script>window" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert next(iter(data_of(text)["records"].values()))["extra"]["remark"] == NO_SCRIPT


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work", SEEDS[:1]), warn=lambda _: None)
    assert "default-src 'none'" in text
    # An SVG element is made with the address of its name space, which nobody calls.
    addresses = set(
        re.findall(r"(?:https?:)?//[\w.]+\w/[^\s\"'<]*", re.sub(r'id="data">.*?</script>', "", text, flags=re.DOTALL))
    )
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(?:img|iframe|object|embed|link rel=.stylesheet)|@import|url\(", text)


def test_folders_of_this_machine_stay_here(tmp_path: Path, warnings: list[str]) -> None:
    runs = write_runs(tmp_path / "work", SEEDS[:1])
    (tmp_path / "work/cifar100_lt/own" / f"seed{SEEDS[0]}" / "history.csv").write_text("damaged")
    text = render([make_suite(tmp_path)], runs, warn=warnings.append)
    assert str(tmp_path) in " ".join(warnings)
    assert str(tmp_path) not in text
    assert "cifar100_lt/own/" in text


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("history.csv", None, "no curves of"),
        ("history.csv", b"\x00\x01", "left out of the curves"),
        ("history.csv", b"epoch,test_top1,loss\n1,2.0,3.0\n", "it ends at epoch 1 and the run at 200"),
        ("test_outputs.npz", None, "no confusion and no reliability of"),
        ("test_outputs.npz", b"PK\x03\x04 cut off", "without a run's confusion"),
    ],
)
def test_missing_and_damaged_files_are_one_sentence_and_the_rest_is_there(
    tmp_path: Path, warnings: list[str], file: str, content: bytes | None, sentence: str
) -> None:
    runs = write_runs(tmp_path / "work", SEEDS[:1], features=False)
    path = tmp_path / "work" / "cifar100_lt" / "mixup_sar" / f"seed{SEEDS[0]}" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    text = render([make_suite(tmp_path)], runs, warn=warnings.append)
    told = [known for known in warnings if "no features" not in known]
    assert len(told) == 1
    assert sentence in told[0]
    assert "MixUp+SAR" in told[0]
    entries = entries_of(text)
    assert (entries["MixUp+SAR"]["curves"] is None) == (file == "history.csv")
    assert ("confusion" in entries["MixUp+SAR"]) == (file == "history.csv")
    assert entries["MixUp"]["curves"] is not None
    assert "confusion" in entries["MixUp"]
    assert "What is left out" in text


def test_one_bad_run_of_three_leaves_the_others(tmp_path: Path, warnings: list[str]) -> None:
    runs = write_runs(tmp_path / "work")
    folder = tmp_path / "work/cifar100_lt/mixup_sar/seed1024"
    write_outputs(folder, 1, num_classes=7)
    found = entries_of(render([make_suite(tmp_path)], runs, warn=warnings.append))["MixUp+SAR"]
    assert any("has 7 classes and the record 10" in sentence for sentence in warnings)
    assert found["confusionRuns"] == 2


def geometry_of(text: str) -> list[str]:
    return re.findall(r'id="v\d+-g\d+-caption">(.*?)<', text)


def test_features_give_tables_and_a_plane(tmp_path: Path, warnings: list[str]) -> None:
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work"), warn=warnings.append)
    assert len(geometry_of(text)) >= 3
    maps = data_of(text)["views"][0]["maps"]["entries"]
    names = {entry["key"]: entry["name"] for entry in entries_of(text).values()}
    assert {names[key]: sorted(kinds) for key, kinds in maps.items()} == {
        "MixUp": ["prototypes"],
        "MixUp+SAR": ["anchors", "prototypes"],
        "MixUp, MiSLAS": ["prototypes"],
        "MixUp+SAR, MiSLAS": ["anchors", "prototypes"],
    }
    (mixup,) = [kinds["prototypes"] for key, kinds in maps.items() if names[key] == "MixUp"]
    points = np.array([run["points"] for run in mixup])
    assert points.shape == (3, 10, 2)
    # The seeds' axes differ, their classes lie nearly the same way: a class is nearer to itself in other seeds than to others.
    between = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    assert (np.diag(between) < 0.5 * between[~np.eye(10, dtype=bool)].mean()).all()


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", None])
def test_damaged_or_missing_features_of_one_run_leave_the_rest(
    tmp_path: Path, warnings: list[str], content: bytes | None
) -> None:
    runs = write_runs(tmp_path / "work")
    path = tmp_path / "work/cifar100_lt/mixup_sar/seed1024/features.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    text = render([make_suite(tmp_path)], runs, warn=warnings.append)
    told = [
        sentence for sentence in warnings if "mixup_sar/seed1024" in sentence or "more have no features" in sentence
    ]
    assert len(told) == len(warnings) == (1 if content is None else 2)
    sar = entries_of(text)["MixUp+SAR"]["key"]
    assert [run["seed"] for run in data_of(text)["views"][0]["maps"]["entries"][sar]["prototypes"]] == [
        5555,
        1270964153,
    ]
    assert geometry_of(text)


def test_without_features_there_is_neither(tmp_path: Path, warnings: list[str]) -> None:
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work", features=False), warn=warnings.append)
    assert geometry_of(text) == []
    assert data_of(text)["views"][0]["maps"] == {}
    assert "have no features" in warnings[0]


def test_further_tables_are_shown_and_sorted_by_their_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": ["<i>a</i>", "b"], "ms": ["12.5 ± 1", "–"], "text": ["x", "y"]})
    text = render([], [], tables=[Table("Costs & more", frame, ("a note",))])
    assert "Costs &amp; more" in text
    assert "&lt;i&gt;a&lt;/i&gt;" in text
    assert re.search(r'data-sort="12.5" class="number">12.5 ± 1<', text)
    assert "a note" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.23e+03 ± 2.8", "1230.0"), ("-3.15e-08 [-4, -2]", "-3.15e-08"), ("– [1]", ""), ("–", ""), ("Yes", "yes")],
)
def test_what_a_cell_of_a_further_table_is_sorted_by(text: str, value: str) -> None:
    table = Table("Costs", pd.DataFrame({"row": ["a"], "figure": [text]}), ())
    found = re.findall(r'data-sort="([^"]*)"[^>]*>([^<]+)<', render([], [], tables=[table]))
    assert (value, text) in found


def test_where_the_runs_lie_is_not_told_though_none_could_be_read(tmp_path: Path) -> None:
    bad = tmp_path / "work" / "cifar100_lt" / "mixup" / "seed1"
    bad.mkdir(parents=True)
    (bad / "record.json").write_text("{", encoding="utf-8")
    said: list[str] = []
    runs = ledger.scan(tmp_path / "work", said.append)
    text = render([make_suite(tmp_path)], runs, warn=lambda _: None, left_out=said, work_dir=tmp_path / "work")
    assert "A run is left out: cifar100_lt/mixup/seed1/record.json is damaged" in text
    assert str(tmp_path) not in text


def test_kept_runs_show_their_classes_without_logits(tmp_path: Path, warnings: list[str]) -> None:
    write_run(tmp_path / "work", make_record("cifar100_lt", "mixup", 1, 40.0, train_counts=[9, 1]))
    folder = tmp_path / "work/cifar100_lt/mixup/seed1"
    (folder / "per_class.csv").write_text(
        "class,name,train_count,last_accuracy,best_accuracy\n0,cat,9,75.0,\n1,dog,1,,\n"
    )
    found = entries_of(render([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), warn=warnings.append))["MixUp"]
    assert (found["accuracy"], found["names"]) == ([75.0, None], ["cat", "dog"])
    (folder / "per_class.csv").write_text("class,last_accuracy\n5,1\n")
    found = entries_of(render([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), warn=warnings.append))["MixUp"]
    assert "accuracy" not in found
    assert any("per_class.csv is damaged" in sentence for sentence in warnings)


def test_other_numbers_of_classes_are_not_compared(tmp_path: Path) -> None:
    write_runs(tmp_path / "work", SEEDS[:1])
    write_run(
        tmp_path / "work",
        make_record("cifar100_lt", "mixup", 3, 40.0, train_counts=COUNTS[:7], overrides={"classes": 7}),
        "seed3-classes7",
    )
    write_outputs(tmp_path / "work/cifar100_lt/mixup/seed3-classes7", 1, num_classes=7)
    text = render([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), warn=lambda _: None)
    assert "Lines with 7 and 10 classes are not compared class by class" in text


def test_too_many_classes_leave_confusions_out(
    tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classes.ClassData.__init__, "__defaults__", (500,))
    text = render(
        [make_suite(tmp_path)], write_runs(tmp_path / "work", SEEDS[:1], features=False), warn=warnings.append
    )
    assert sum("confusion" in entry for entry in entries_of(text).values()) == 1
    assert any("confusion matrices of 4 lines are left out to keep the file small" in sentence for sentence in warnings)


def test_without_a_run_there_are_the_papers_figures(tmp_path: Path) -> None:
    text = render([make_suite(tmp_path)], [])
    assert "None of the paper&#39;s 3 claims" in text
    assert "40.60" in text
    assert 'id="runs"' not in text


def test_without_suites_there_is_a_page_all_the_same() -> None:
    assert "Report without runs" in render([], [])


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr("sar_cls.reporting.html.page.render", lambda *args, **kwargs: "\udc80")  # no UTF-8
    with pytest.raises(UnicodeEncodeError):
        write_report([], [], path)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_every_template_is_used() -> None:
    used = {STYLES, *SCRIPTS, "report.html.jinja", "table.html.jinja"}
    assert {path.name for path in TEMPLATES.iterdir()} == used


def test_fifty_runs_of_two_hundred_classes_stay_below_five_megabytes(tmp_path: Path) -> None:
    """Five rows of ten seeds, 200 epochs and as many classes as CUB-200, with confusions as full as they get."""
    rng = np.random.default_rng(0)
    seeds = range(10)
    for row in ("mixup", "mixup_car", "mixup_sar", "own"):
        for seed in seeds:
            write_run(tmp_path / "work", make_record("cifar100_lt", row, seed, 40.0, train_counts=[30] * 200))
            folder = tmp_path / "work" / "cifar100_lt" / row / f"seed{seed}"
            logits, labels = rng.normal(size=(600, 200)).astype(np.float32), rng.integers(0, 200, 600)
            np.savez(folder / "test_outputs.npz", logits=logits, labels=labels)
            lines = [f"{epoch},{rng.random()},{rng.random()},{rng.random()}" for epoch in range(1, 201)]
            (folder / "history.csv").write_text("\n".join(["epoch,test_top1,loss,share_gate_open", *lines, ""]))
    text = render([make_suite(tmp_path)], ledger.scan(tmp_path / "work"), warn=lambda _: None)
    assert len(text.encode()) < 5_000_000
