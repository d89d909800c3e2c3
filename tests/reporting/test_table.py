"""Tables of one stage: what stands where, means and differences, and what they are written to. Figures are computed by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import make_record, write_run

from sar_cls.reporting.tables.suite_tables import suite_tables, tables_from_records, write_tables
from sar_cls.suites.rows import Suite

from .table_suites import cells


def test_without_runs_the_papers_figures_and_empty_columns(small: Suite, tmp_path: Path) -> None:
    tables = suite_tables(small, tmp_path / "nothing")
    assert tables.to_markdown() == (
        "### CIFAR-100 (paper Tab. 8)\n\n"
        "| method        | paper   | last epoch: mean ± std (n)   | best epoch   | Δ paper   | Δ ResNet-18 [95 %]   |\n"
        "|:--------------|:--------|:-----------------------------|:-------------|:----------|:---------------------|\n"
        "| ResNet-18     | 78.07   | –                            | –            | –         | –                    |\n"
        "| ResNet-18+SAR | 78.78   | –                            | –            | –         | –                    |\n"
    )
    assert list(tables.frame["paper"]) == [78.07, 78.78]
    assert list(tables.frame["n"]) == [0, 0]


def test_means_differences_and_interval(small: Suite, tmp_path: Path) -> None:
    for seed, plain, sar in ((1024, 78.0, 78.6), (5555, 78.2, 78.9), (0, 77.9, 78.7)):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, plain))
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, sar))
    tables = suite_tables(small, tmp_path)
    # Means 234.1 / 3 and 236.2 / 3; deviations both 0.1528; differences 0.6, 0.7, 0.8: std 0.1, 4.3027 * 0.1 / sqrt 3 = 0.2484.
    assert cells(tables) == [
        ["ResNet-18", "78.07", "78.03 ± 0.15 (n = 3)", "78.53 ± 0.15", "-0.04", "–"],
        ["ResNet-18+SAR", "78.78", "78.73 ± 0.15 (n = 3)", "79.23 ± 0.15", "-0.05", "+0.70 [+0.45, +0.95] (3 pairs)"],
    ]
    notes = " ".join(tables.tables[0].notes)
    assert "paired t-test" in notes
    assert "not a reproduction" not in notes
    assert "best on the test set" in notes
    assert "6 runs: code 0123456789; torch 2.13.0; on cpu in fp32." in notes


def test_csv_holds_the_same_as_numbers(small: Suite, tmp_path: Path) -> None:
    for seed, plain, sar in ((1, 78.0, 78.6), (2, 78.2, 78.9)):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, plain))
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, sar))
    frame = pd.read_csv(io.StringIO(suite_tables(small, tmp_path).to_csv())).set_index("row")
    line = frame.loc["resnet18_sar"]
    assert line["last_mean"] == pytest.approx(78.75)
    assert line["to_paper"] == pytest.approx(78.75 - 78.78, abs=1e-4)
    assert line["to_baseline"] == pytest.approx(0.65)
    assert line["to_baseline_low"] == pytest.approx(0.65 - 12.7062 * 0.05, abs=1e-3)  # std 0.0707 / sqrt 2 = 0.05
    assert line["seeds"] == "1 2"
    assert line["pairs"] == 2
    assert bool(line["reproduction"]) is True


def test_difference_whose_interval_holds_zero_is_marked(small: Suite, tmp_path: Path) -> None:
    for seed, plain, sar in ((1, 78.0, 79.0), (2, 78.0, 77.9)):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, plain))
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, sar))
    assert cells(suite_tables(small, tmp_path))[1][-1] == "+0.45 [-6.54, +7.44] n.s. (2 pairs)"


def test_only_common_seeds_are_paired_and_one_pair_has_no_interval(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 2, 80.0))
    write_run(tmp_path, make_record("cifar100", "resnet18_sar", 2, 80.5))
    tables = suite_tables(small, tmp_path)
    assert cells(tables)[1][2:] == ["80.50 (n = 1)", "81.00", "+1.72", "+0.50 (1 pair)"]
    assert any("one seed says nothing" in note for note in tables.tables[0].notes)


def test_metric_that_was_not_finite_is_left_out_of_the_mean(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    broken = make_record("cifar100", "resnet18", 2, 70.0)
    broken["metrics"] = {"last": {"top1": float("nan")}, "best": {"top1": 50.0}}
    write_run(tmp_path, broken)
    assert cells(suite_tables(small, tmp_path))[0][2] == "70.00 (n = 1)"


def test_tables_are_written_beside_the_runs(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    tables = write_tables(small, tmp_path)
    folder = tmp_path / "cifar100"
    assert (folder / "table.md").read_text(encoding="utf-8") == tables.to_markdown()
    assert (folder / "table.csv").read_text(encoding="utf-8") == tables.to_csv()
    assert sorted(path.name for path in folder.iterdir()) == ["resnet18", "table.csv", "table.md"]


def test_no_suites_are_an_empty_table() -> None:
    tables = tables_from_records([], [])
    assert tables.to_csv().splitlines() == ["suite,row,epochs,epochs_recipe,n,pairs"]
    assert tables.to_markdown().strip() == ""


def test_a_metric_that_is_no_figure_counts_as_none(small: Suite, tmp_path: Path) -> None:
    row = small.rows[0]
    write_run(tmp_path, make_record(small.name, row.name, 1, 90.0))
    write_run(tmp_path, make_record(small.name, row.name, 2, 91.0, metrics={small.metric: [1.0, 2.0]}))
    assert "90.00 (n = 1)" in suite_tables(small, tmp_path).to_markdown()
