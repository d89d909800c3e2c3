"""The published figures of the segmentation suites without runs: every one of them stands in a table, optional rows or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import make_record, write_run

import sar_cls
from sar_cls.reporting.tables.suite_tables import SuiteTables, suite_tables
from sar_cls.suites.rows import load_suite

from .table_suites import make_suite

CONFIGS = Path(sar_cls.__file__).parents[1] / "configs"


def published(tables: SuiteTables) -> dict[str, float]:
    frame = tables.frame.dropna(subset=["paper"])
    return dict(zip(frame["row"], frame["paper"], strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cityscapes", {"hrnet_w48_160k": 80.6, "hrnet_w48_protoseg": 81.1}),
        ("ade20k", {"hrnet_w48_520_protoseg": 43.0, "hrnet_w48_520_sar": 43.3}),
        (
            "pascal_context",
            {
                "deeplabv3_r101_520": 52.6, "deeplabv3_r101_520_car": 52.9, "deeplabv3_r101_520_sar": 53.3,
                "hrnet_w48_520": 50.3, "hrnet_w48_520_car": 50.7, "hrnet_w48_520_sar": 51.1,
                "ocrnet_w48_520": 52.0, "ocrnet_w48_520_car": 52.3, "ocrnet_w48_520_sar": 52.5,
            },
        ),
    ],
)  # fmt: skip
def test_tables_5_and_6_stand_there_without_a_run(name: str, expected: dict[str, float], tmp_path: Path) -> None:
    tables = suite_tables(load_suite(CONFIGS, name), tmp_path)
    found = published(tables)
    assert {row: found.get(row) for row in expected} == expected
    further = next(table for table in tables.tables if table.title.endswith("further rows"))
    assert sorted(further.frame.iloc[:, 1]) == sorted(f"{value:.2f}" for value in expected.values())


def test_the_papers_other_figure_of_a_row_is_in_a_note(tmp_path: Path) -> None:
    notes = suite_tables(load_suite(CONFIGS, "ade20k"), tmp_path).tables[0].notes
    assert [note for note in notes if "Tab. 3" in note] == [
        "HRNet+SAR: 42.70 in the paper's Tab. 3, 42.80 in its Tab. 2."
    ]


@pytest.mark.parametrize("name", ["cifar100", "cifar100_lt", "cub200"])
def test_an_optional_row_does_not_repeat_the_figure_of_another(name: str, tmp_path: Path) -> None:
    suite = load_suite(CONFIGS, name)
    optional = {row.name for row in suite.rows if row.optional}
    assert not optional & set(suite_tables(suite, tmp_path).frame["row"])


def test_beside_runs_it_stands_with_the_rows_of_its_group(tmp_path: Path) -> None:
    text = (
        'title = "Streets"\npaper_dataset = "Cityscapes"\nmetric = "miou"\n'
        '[[rows]]\nname = "net"\nlabel = "Net"\ngroup = "A"\n'
        '[[rows]]\nname = "long"\nlabel = "Long"\nconfig = "net.py"\npaper = "HRNet 160k"\ngroup = "B"\noptional = true\n'
        '[[rows]]\nname = "proto"\nlabel = "Proto"\nconfig = "net.py"\npaper = "ProtoSeg 160k"\ngroup = "B"\noptional = true\n'
    )
    suite = make_suite(tmp_path, "streets", text)
    write_run(tmp_path / "a", make_record("streets", "net", 1, 0.0, metrics={"miou": 70.0}))
    assert list(suite_tables(suite, tmp_path / "a").frame["row"]) == ["net"]
    write_run(tmp_path / "b", make_record("streets", "proto", 1, 0.0, metrics={"miou": 70.0}))
    assert list(suite_tables(suite, tmp_path / "b").frame["row"]) == ["long", "proto"]
