"""Each imbalance factor has a table of its own, with the figures that were published for it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import make_record, second_stage, write_run

from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import Suite

from .table_suites import cells


def test_other_imbalance_factor_has_its_own_table_and_published_figures(two_stages: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.0))
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 45.0, overrides={"imbalance": 50.0}), "seed1-if50")
    published = {"imbalance": 50.0, "settings": "published"}
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 52.0, one, overrides=published), "seed1-if50")
    tables = suite_tables(two_stages, tmp_path)
    titles = [table.title for table in tables.tables]
    assert titles[2] == "CIFAR-100-LT, imbalance factor 50"
    assert cells(tables)[0][2] == "39.00 (n = 1)"
    line = cells(tables, 2)[0]
    assert (line[1], line[2], line[4]) == ("45.40", "45.00 (n = 1)", "-0.40")
    assert (line[7], line[8], line[10]) == ("52.30", "52.00 (n = 1)", "-0.30")
    assert any(
        "MiSLAS's here: published results (best epoch on the test set)" in note for note in tables.tables[2].notes
    )


@pytest.mark.parametrize(
    ("factor", "settings", "deviation"),
    [
        (50.0, "published", None),
        (50.0, None, "settings of imbalance 100"),  # a run of before the settings followed the factor
        (50.0, "settings of cifar100, imbalance 100", "settings of cifar100, imbalance 100"),
        (20.0, "settings of cifar100, imbalance 100", "settings of cifar100, imbalance 100"),
        (20.0, "published", "imbalance 20 has no published figure"),
    ],
)
def test_another_imbalance_factor_is_a_reproduction_only_by_published_settings(
    two_stages: Suite, tmp_path: Path, factor: float, settings: str | None, deviation: str | None
) -> None:
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 45.0, overrides={"imbalance": factor}))
    overrides = {"imbalance": factor} | ({} if settings is None else {"settings": settings})
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 52.0, one, overrides=overrides))
    tables = suite_tables(two_stages, tmp_path)
    found = tables.frame[tables.frame["n"] == 1].set_index("stage")
    assert found["imbalance"].tolist() == [factor, factor]
    assert found["deviations"].fillna("").tolist() == [
        "" if factor == 50 else "imbalance 20 has no published figure",
        deviation or "",
    ]
    assert found["reproduction"].tolist() == [factor == 50, deviation is None]
    assert pd.isna(found.loc[2, "to_paper"]) == (deviation is not None)
    assert "52.00 (n = 1)" in tables.to_markdown()
    assert (f"{deviation}: not a reproduction" in tables.to_markdown()) is (deviation is not None)


def test_rows_without_a_figure_for_a_factor_are_still_compared_there(two_stages: Suite, tmp_path: Path) -> None:
    for row, first, second in (("mixup", 45.0, 52.0), ("mixup_sar", 46.0, 52.5)):
        one = write_run(tmp_path, make_record("cifar100_lt", row, 1, first, overrides={"imbalance": 50}), "seed1-if50")
        published = {"imbalance": 50, "settings": "published"}
        write_run(tmp_path, second_stage("cifar100_lt", f"{row}_mislas", second, one, overrides=published))
    frame = suite_tables(two_stages, tmp_path).frame
    found = frame[frame["n"] == 1].set_index("row")
    assert found["to_baseline"].dropna().to_dict() == {"mixup_sar": 1.0, "mixup_sar_mislas": 0.5}
    assert found["reproduction"].to_dict() == {
        **{"mixup": True, "mixup_mislas": True},
        **{"mixup_sar": False, "mixup_sar_mislas": False},
    }


def test_beside_runs_no_stage_and_no_imbalance_factor_without_any(two_stages: Suite, tmp_path: Path) -> None:
    overrides = {"imbalance": 50.0}
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 45.0, overrides=overrides))
    tables = suite_tables(two_stages, tmp_path)
    assert {table.title.partition(":")[0] for table in tables.tables} == {"CIFAR-100-LT, imbalance factor 50"}
    assert all(column.startswith(("stage 1", "1: ")) for column in tables.tables[0].frame.columns)
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 52.0, one, overrides=overrides))
    assert "stage 2" in suite_tables(two_stages, tmp_path).tables[0].frame.columns
