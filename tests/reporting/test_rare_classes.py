"""The rarest classes: which they are, their accuracies and differences by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import make_record, write_outputs, write_run

from sar_cls.reporting.tables.rare_classes import rare_class_tables
from sar_cls.reporting.tables.suite_tables import SuiteTables
from sar_cls.runs.ledger import scan
from sar_cls.runs.per_class import COLUMNS, class_names, last_accuracies
from sar_cls.suites.rows import Suite, load_suite

TEXT = """
title = "Pets"
paper_table = "10"
metric = "top1"

[[rows]]
name = "plain"
label = "Plain"

[[rows]]
name = "sar"
label = "+SAR"
baseline = "plain"

[[rows]]
name = "car"
label = "+CAR"
baseline = "plain"
"""
COUNTS = [20, 5, 50, 5, 9]
NAMES = ["cat", "newt", "dog", "olm", "axolotl"]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    folder = tmp_path / "configs" / "pets"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(TEXT, encoding="utf-8")
    return load_suite(tmp_path / "configs", "pets")


def write(work_dir: Path, row: str, seed: int, accuracies: list[float] | None, counts: list[int] = COUNTS) -> None:
    write_run(work_dir, make_record("pets", row, seed, 50.0, train_counts=counts))
    if accuracies is not None:
        with (work_dir / "pets" / row / f"seed{seed}" / "per_class.csv").open(
            "w", newline="", encoding="utf-8"
        ) as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(range(len(counts)), NAMES, counts, accuracies, accuracies, strict=True))


def tables_of(suite: Suite, work_dir: Path, number: int, warn=pytest.fail) -> SuiteTables:
    return rare_class_tables([suite], scan(work_dir), number, warn)


def test_counts_keep_all_their_digits_in_csv(suite: Suite, tmp_path: Path) -> None:
    counts = [4_748_145, 1_000_001, 5, 12_345_678, 4]  # pixels, say
    write(tmp_path, "plain", 1, [90, 10, 95, 20, 30], counts)
    write(tmp_path, "sar", 1, [90, 30, 95, 20, 33], counts)
    text = tables_of(suite, tmp_path, 5).to_csv()
    assert all(str(count) in text for count in counts)
    assert "e+" not in text


def test_by_hand(suite: Suite, tmp_path: Path) -> None:
    write(tmp_path, "plain", 1, [90, 10, 95, 20, 30])
    write(tmp_path, "plain", 2, [90, 20, 95, 30, 40])
    write(tmp_path, "sar", 1, [90, 30, 95, 20, 33])
    write(tmp_path, "sar", 2, [90, 50, 95, 34, 43])
    write(tmp_path, "car", 1, [90, 5, 95, 20, 30])
    tables = tables_of(suite, tmp_path, 3)
    table, published = tables.tables
    assert table.title == "Pets: rarest classes beside Plain"
    # newt before olm: equally rare, the lower label first. Half an interval of two pairs is 12.7062 times half their distance: newt
    # 20, 30; olm 0, 4; axolotl 3, 3. Means over the classes: plain 20, 30; SAR 83/3, 127/3: differences 23/3, 37/3.
    assert table.frame.to_numpy().tolist() == [
        [
            "newt (5)",
            "15.00 ± 7.07",
            "40.00 ± 14.14",
            "+25.00 [-38.53, +88.53] n.s. (2 pairs)",
            "5.00",
            "-5.00 (1 pair)",
        ],
        ["olm (5)", "25.00 ± 7.07", "27.00 ± 9.90", "+2.00 [-23.41, +27.41] n.s. (2 pairs)", "20.00", "+0.00 (1 pair)"],
        ["axolotl (9)", "35.00 ± 7.07", "38.00 ± 7.07", "+3.00 [+3.00, +3.00] (2 pairs)", "30.00", "+0.00 (1 pair)"],
        [
            "mean of the 3",
            "25.00 ± 7.07",
            "35.00 ± 10.37",
            "+10.00 [-19.65, +39.65] n.s. (2 pairs)",
            "18.33",
            "-1.67 (1 pair)",
        ],
    ]
    assert list(table.frame.columns) == [
        "class (training images)",
        "Plain",
        "+SAR",
        "Δ +SAR [95 %]",
        "+CAR",
        "Δ +CAR [95 %]",
    ]
    assert "segmentation" in published.title
    assert "another task" in published.notes[0]
    frame = tables.frame.set_index(["row", "name"])
    assert frame.loc[("sar", "newt"), "to_baseline_high"] == pytest.approx(
        25 + 12.7062 * 10 / math.sqrt(2) / math.sqrt(2), abs=1e-3
    )
    assert len(frame) == 3 * 4


def test_the_papers_table_is_there_in_full(suite: Suite, tmp_path: Path) -> None:
    for row in ("plain", "sar"):
        write(tmp_path, row, 1, [1, 2, 3, 4, 5])
    frame = tables_of(suite, tmp_path, 1).tables[-1].frame
    assert len(frame) == 12 + 3 + 1
    assert frame.iloc[-1].tolist() == [
        "13",
        "Pascal-Context",
        "Mouse",
        "HRNet: 34.70",
        "0.00 (-34.70)",
        "40.30 (+5.60)",
    ]
    assert frame.iloc[13].tolist() == [
        "12",
        "Pascal-Context",
        "Mouse, seed 1024",
        "DeepLabV3: 0.00",
        "–",
        "25.60 (+25.60)",
    ]


def test_more_classes_than_there_are(suite: Suite, tmp_path: Path) -> None:
    for row in ("plain", "sar"):
        write(tmp_path, row, 1, [1, 2, 3, 4, 5])
    lines = tables_of(suite, tmp_path, 99).tables[0].frame["class (training images)"]
    assert list(lines) == ["newt (5)", "olm (5)", "axolotl (9)", "cat (20)", "dog (50)", "mean of the 5"]


@pytest.mark.parametrize(
    ("counts", "says"), [([7] * 5, "has 7 training"), ([10, 15, 12, 11, 10], "has 10 to 15 training")]
)
def test_a_balanced_set_is_one_sentence(suite: Suite, tmp_path: Path, counts: list[int], says: str) -> None:
    for row in ("plain", "sar"):
        write(tmp_path, row, 1, [1, 2, 3, 4, 5], counts)
    tables = tables_of(suite, tmp_path, 4)
    (table,) = tables.tables
    assert len(table.notes) == 1
    assert says in table.notes[0]
    assert tables.to_markdown() == f"### {table.title}\n\n- {table.notes[0]}\n"
    assert len(tables.frame) == 0


def test_thousands_of_pixels_are_written_out(suite: Suite, tmp_path: Path) -> None:
    counts = [9_000_000, 82_345, 1_000_000, 999, 1_000]
    for row in ("plain", "sar"):
        write(tmp_path, row, 1, [90, 10, 95, 20, 30], counts)
    write(tmp_path, "plain", 2, [90, 10, 95, 20, 30], [*counts[:4], 1_501])
    column = tables_of(suite, tmp_path, 4).tables[0].frame.iloc[:, 0].tolist()
    assert column[:4] == ["olm (999)", "axolotl (1,167)", "newt (82,345)", "dog (1,000,000)"]


def test_a_suite_without_a_table_in_the_paper_stands_alone(suite: Suite, tmp_path: Path) -> None:
    for row in ("plain", "sar"):
        write(tmp_path, row, 1, [1, 2, 3, 4, 5])
    (table,) = tables_of(replace(suite, paper_table=None), tmp_path, 1).tables
    assert "paper" not in table.to_markdown()


def test_a_run_whose_file_was_cut_off_is_left_out_with_a_sentence(suite: Suite, tmp_path: Path) -> None:
    for row in ("plain", "sar"):
        for seed in (1, 2):
            write(tmp_path, row, seed, [1, 2, 3, 4, 5])
    path = tmp_path / "pets" / "sar" / "seed2" / "per_class.csv"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    said: list[str] = []
    tables = tables_of(suite, tmp_path, 1, said.append)
    assert [f"{path} has 4 classes and the record 5; move the folder" in sentence for sentence in said] == [True]
    assert tables.tables[0].frame.iloc[0].tolist()[-1] == "+0.00 (1 pair)"


def test_a_run_without_accuracies_of_its_classes_is_left_out_with_a_sentence(suite: Suite, tmp_path: Path) -> None:
    write(tmp_path, "plain", 1, [1, 2, 3, 4, 5])
    write(tmp_path, "plain", 2, None)
    for seed in (1, 2):
        write(tmp_path, "sar", seed, [2, 3, 4, 5, 6])
    said: list[str] = []
    tables = tables_of(suite, tmp_path, 1, said.append)
    assert len(said) == 1
    assert "per_class.csv is missing; move the folder " in said[0]
    assert tables.tables[0].frame.iloc[0].tolist() == ["newt (5)", "2.00", "3.00 ± 0.00", "+1.00 (1 pair)"]


def test_from_test_outputs_where_a_run_has_them(suite: Suite, tmp_path: Path) -> None:
    counts = list(range(10, 110, 10))
    for row, skill in (("plain", 1.0), ("sar", 3.0)):
        write_run(tmp_path, make_record("pets", row, 1, 50.0, train_counts=counts))
        write_outputs(tmp_path / "pets" / row / "seed1", 1, skill=skill)
    line = tables_of(suite, tmp_path, 2).tables[0].frame.iloc[1].tolist()
    expected = [last_accuracies(tmp_path / "pets" / row / "seed1")[1] for row in ("plain", "sar")]
    assert line[0] == "class 1 (20)"
    assert [float(cell) for cell in line[1:3]] == pytest.approx(expected, abs=0.006)
    assert expected[1] > expected[0]


def test_names_of_classes(tmp_path: Path) -> None:
    assert class_names(tmp_path) == []
    write(tmp_path, "plain", 1, [1, 2, 3, 4, 5])
    assert class_names(tmp_path / "pets" / "plain" / "seed1") == NAMES
