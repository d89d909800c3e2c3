"""Which suites, rows and columns are shown: all of them without runs, and beside runs what belongs to those."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import make_record, write_run

from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import Suite

from .table_suites import SMALL, cells, make_suite


def test_runs_of_a_row_of_another_suite_stand_in_both_tables(small: Suite, tmp_path: Path) -> None:
    """Each suite has its own label and baseline for it, and pairs it with its own runs."""
    text = SMALL.replace('label = "ResNet-18"\npaper', 'suite = "cifar100"\nlabel = "Plain net"\npaper')
    other = make_suite(
        tmp_path, "parts", text.replace('name = "resnet18_sar"', 'name = "resnet18_part"\nlike = "resnet18"')
    )
    for seed, plain, part in ((1, 78.0, 78.6), (2, 78.2, 78.9)):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, plain))
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, 70.0))
        write_run(tmp_path, make_record("parts", "resnet18_part", seed, part))
    warned: list[str] = []
    found = suite_tables(other, tmp_path, warn=warned.append)
    assert [row[0] for row in cells(found)] == ["Plain net", "ResNet-18+SAR"]
    assert cells(found)[0][2] == "78.10 ± 0.14 (n = 2)"
    assert list(found.frame["suite"]) == ["parts", "parts"]
    assert found.frame["to_baseline"][1] == pytest.approx(0.65)
    assert [row[0] for row in cells(suite_tables(small, tmp_path, warn=warned.append))] == [
        "ResNet-18",
        "ResNet-18+SAR",
    ]
    assert warned == []


def test_a_suite_the_paper_does_not_have_shows_no_paper_columns(tmp_path: Path) -> None:
    text = 'title = "Digits"\nmetric = "top1"\n\n[[rows]]\nname = "baseline"\nlabel = "a | b"\n'
    tables = suite_tables(make_suite(tmp_path, "digits", text), tmp_path)
    assert list(tables.tables[0].frame.columns) == [
        "method",
        "last epoch: mean ± std (n)",
        "best epoch",
        "Δ baseline [95 %]",
    ]
    assert "| a \\| b" in tables.to_markdown()


def test_a_bar_in_the_label_of_a_baseline_does_not_split_the_heading(tmp_path: Path) -> None:
    text = 'title = "Digits"\nmetric = "top1"\n\n[[rows]]\nname = "baseline"\nlabel = "a | b"\n'
    text += '\n[[rows]]\nname = "sar"\nlabel = "SAR"\nbaseline = "baseline"\n'
    tables = suite_tables(make_suite(tmp_path, "digits", text), tmp_path)
    head, rule = tables.tables[0].to_markdown().splitlines()[2:4]
    assert "Δ a \\| b [95 %]" in head
    assert head.replace("\\|", "").count("|") == rule.count("|")


def test_included_suites_follow(tmp_path: Path) -> None:
    text = 'title = "{0}"\nmetric = "top1"\n{1}\n[[rows]]\nname = "baseline"\nlabel = "Baseline"\n'
    make_suite(tmp_path, "inner", text.format("Inner", ""))
    suite = make_suite(tmp_path, "outer", text.format("Outer", 'include = ["inner"]'))
    for name in ("inner", "outer"):
        write_run(tmp_path, make_record(name, "baseline", 1, 97.0))
    tables = suite_tables(suite, tmp_path)
    assert [table.title for table in tables.tables] == ["Outer", "Inner"]
    assert list(tables.frame["suite"]) == ["outer", "inner"]


@pytest.mark.parametrize(("ran", "title"), [("outer", "Outer"), ("plain", "Plain"), ("published", "Published")])
def test_beside_runs_no_suite_without_any(tmp_path: Path, ran: str, title: str) -> None:
    text = 'title = "{0}"\nmetric = "top1"\n{1}\n[[rows]]\nname = "baseline"\nlabel = "Baseline"\n{2}'
    make_suite(tmp_path, "plain", text.format("Plain", "", ""))
    published = 'paper_dataset = "CIFAR-100"'
    make_suite(tmp_path, "published", text.format("Published", published, 'paper = "ResNet-18"\n'))
    suite = make_suite(tmp_path, "outer", text.format("Outer", 'include = ["plain", "published"]', ""))
    assert [table.title for table in suite_tables(suite, tmp_path).tables] == ["Outer", "Plain", "Published"]
    write_run(tmp_path, make_record(ran, "baseline", 1, 97.0))
    tables = suite_tables(suite, tmp_path)
    assert [table.title for table in tables.tables] == [title]
    assert list(tables.frame["suite"]) == [ran]


def test_beside_runs_only_rows_with_a_published_figure_and_of_groups_that_were_run(tmp_path: Path) -> None:
    row = '[[rows]]\nname = "{0}"\nlabel = "{0}"\ngroup = "{1}"\n{2}\n'
    text = 'title = "T"\npaper_dataset = "CIFAR-100"\nmetric = "top1"\n'
    for group, paper in (("small", "ResNet-18"), ("large", "ResNet-50")):
        text += row.format(group, group, f'paper = "{paper}"') + row.format(f"{group}_car", group, "")
        text += row.format(f"{group}_sar", group, f'paper = "{paper}+SAR"')
    suite = make_suite(tmp_path, "rows", text)
    assert len(cells(suite_tables(suite, tmp_path))) == 6
    write_run(tmp_path, make_record("rows", "small", 1, 78.0))
    assert [line[:3] for line in cells(suite_tables(suite, tmp_path))] == [
        ["small", "78.07", "78.00 (n = 1)"],
        ["small_sar", "78.78", "–"],
    ]
    write_run(tmp_path, make_record("rows", "small_car", 1, 77.0))
    assert [line[0] for line in cells(suite_tables(suite, tmp_path))] == ["small", "small_car", "small_sar"]
