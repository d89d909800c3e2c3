"""The paper's rare classes: beside ours where the data set is the same, and never called another task there."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import dense_runs
import numpy as np
import pytest
from synthetic_runs import make_record, write_run

import sar_cls
from sar_cls.reporting.tables.published_rare_classes import NAMES, has_rare_classes, published
from sar_cls.reporting.tables.rare_classes import rare_class_tables
from sar_cls.reporting.tables.suite_tables import Table
from sar_cls.runs.ledger import scan
from sar_cls.runs.per_class import COLUMNS
from sar_cls.suites.rows import load_suite

CONFIGS = Path(sar_cls.__file__).parents[1] / "configs"
SETS = ("cityscapes", "ade20k", "pascal_context")
CLASSES, COUNTS = ("road", "train", "rider", "traffic light"), [900, 20, 30, 10]


def write(work_dir: Path, row: str, seed: int, ious: list[float], **changes: object) -> None:
    """A run on Cityscapes that has left the IoU of four of its classes."""
    metrics = {"miou": float(np.mean(ious))}
    write_run(work_dir, make_record("cityscapes", row, seed, 0.0, train_counts=COUNTS, metrics=metrics, **changes))
    with (work_dir / "cityscapes" / row / f"seed{seed}" / "per_class.csv").open(
        "w", newline="", encoding="utf-8"
    ) as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "last_iou", "best_iou"])
        writer.writerows(zip(range(4), CLASSES, COUNTS, [1.0] * 4, [2.0] * 4, ious, [3.0] * 4, strict=True))


def papers(work_dir: Path, name: str = "cityscapes") -> Table:
    tables = rare_class_tables([load_suite(CONFIGS, name)], scan(work_dir), 4, pytest.fail).tables
    assert not any("another task" in note for table in tables for note in table.notes)
    return tables[-1]


@pytest.mark.parametrize("name", SETS)
def test_without_runs_the_papers_figures_stand_there_with_empty_cells(name: str, tmp_path: Path) -> None:
    suite = load_suite(CONFIGS, name)
    frame = papers(tmp_path, name).frame
    lines = [line for line in published() if line.dataset == suite.paper_dataset]
    assert len(frame) == len(lines) == {"cityscapes": 4, "ade20k": 4, "pascal_context": 8}[name]
    assert set(frame.filter(like=", ours").to_numpy().ravel()) == {"–"}
    # Every figure has rows of the suite that are to be set beside it.
    for line in lines:
        assert [row for row in suite.rows if row.paper == line.net]
        assert {row.label for row in suite.rows} >= {f"{line.net}+{m}" for m in line.values if m != line.net}


def test_ours_stand_beside_them_by_hand(tmp_path: Path) -> None:
    write(tmp_path, "hrnet_w48", 1, [90.0, 70.0, 60.0, 50.0])
    write(tmp_path, "hrnet_w48", 2, [90.0, 72.0, 61.0, float("nan")])
    write(tmp_path, "hrnet_w48_sar", 1, [90.0, 80.0, 64.0, 55.5])
    write(tmp_path, "hrnet_w48_sar", 2, [90.0, 10.0, 10.0, 10.0], epochs=1)  # shortened, so no reproduction
    write(tmp_path, "hrnet_w48_car", 1, [90.0, 1.0, 1.0, 1.0])  # of which the paper has no figure here
    frame = papers(tmp_path).frame
    assert frame.to_numpy().tolist() == [
        ["11", "Train", "HRNet", "75.50", "71.00 ± 1.41 (n = 2)", "–", "–", "83.90 (+8.40)", "80.00 (n = 1)"],
        ["11", "Tr.Light", "HRNet", "74.90", "50.00 (n = 1)", "–", "–", "75.00 (+0.10)", "55.50 (n = 1)"],
        ["11", "Rider", "HRNet", "65.40", "60.50 ± 0.71 (n = 2)", "–", "–", "67.50 (+2.10)", "64.00 (n = 1)"],
        ["11", "M.Bike", "HRNet", "68.20", "–", "–", "–", "68.30 (+0.10)", "–"],
    ]
    assert list(frame.columns)[3:5] == ["net alone, paper", "net alone, ours"]


def test_names_are_those_of_the_data_sets() -> None:
    assert {name.lower() for name in ("Tr.Light", "M.Bike")} == set(NAMES)
    assert set(NAMES) <= {line.name.lower() for line in published() if line.dataset == "Cityscapes"}


def test_another_set_of_segmentation_is_no_other_task(tmp_path: Path) -> None:
    suite = replace(dense_runs.make_suite(tmp_path), paper_table="2")
    assert not has_rare_classes(suite)
    tables = rare_class_tables([suite], dense_runs.write_runs(tmp_path / "work"), 2, pytest.fail).tables
    assert "other data sets" in tables[-1].notes[0]
    assert "another task" not in tables[-1].notes[0]
