"""Tables of two stages: which runs stand beside each other, shot groups and calibration. Figures are computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import make_record, second_stage, write_run

from sar_cls.cli import CONFIGS
from sar_cls.reporting.tables.suite_tables import SuiteTables, suite_tables
from sar_cls.suites.rows import Suite, load_suite

from .table_suites import TWO_STAGES, cells, make_suite


def with_extra(record: dict, many_shot: float, ece: float) -> dict:
    """The record with further metrics; its best epoch is better calibrated by one point."""
    record["metrics"]["last"] |= {"many_shot": many_shot, "ece": ece}
    record["metrics"]["best"] |= {"many_shot": many_shot, "ece": ece - 1}
    return record


def test_both_stages_side_by_side(two_stages: Suite, tmp_path: Path) -> None:
    for row, first, second, ece in (("mixup", 39.0, 47.0, 8.0), ("mixup_sar", 40.0, 47.5, 9.0)):
        for seed in (1, 2):
            one = write_run(
                tmp_path, with_extra(make_record("cifar100_lt", row, seed, first + seed / 10), 60.0 + seed, ece)
            )
            two = second_stage("cifar100_lt", f"{row}_mislas", second + seed / 10, one)
            write_run(tmp_path, with_extra(two, 60.0 + seed, ece))
    tables = suite_tables(two_stages, tmp_path)
    assert [table.title for table in tables.tables] == [
        "CIFAR-100-LT, imbalance factor 100 (paper Tab. 10)",
        "CIFAR-100-LT, imbalance factor 100 (paper Tab. 10): shot groups and calibration",
    ]
    assert list(tables.tables[0].frame.columns) == [
        *("stage 1", "1: paper", "1: last epoch: mean ± std (n)", "1: best epoch", "1: Δ paper", "1: Δ MixUp [95 %]"),
        *("stage 2", "2: paper", "2: last epoch: mean ± std (n)", "2: best epoch", "2: Δ paper", "2: Δ MixUp [95 %]"),
    ]
    assert cells(tables) == [
        [
            *("MixUp", "39.50", "39.15 ± 0.07 (n = 2)", "39.65 ± 0.07", "-0.35", "–"),
            *("MiSLAS", "47.00", "47.15 ± 0.07 (n = 2)", "47.65 ± 0.07", "+0.15", "–"),
        ],
        [
            *("MixUp+SAR", "40.60", "40.15 ± 0.07 (n = 2)", "40.65 ± 0.07", "-0.45", "+1.00 [+1.00, +1.00] (2 pairs)"),
            *("MiSLAS", "48.00", "47.65 ± 0.07 (n = 2)", "48.15 ± 0.07", "-0.35", "+0.50 [+0.50, +0.50] (2 pairs)"),
        ],
    ]
    assert list(tables.tables[1].frame.columns) == [
        *("method", "n", "many", "ECE, last epoch", "ECE, best epoch", "ECE, published (best epoch)")
    ]
    assert cells(tables, 1) == [
        ["MixUp", "2", "61.50 ± 0.71", "8.00 ± 0.00", "7.00 ± 0.00", "8.82"],
        ["MixUp+SAR", "2", "61.50 ± 0.71", "9.00 ± 0.00", "8.00 ± 0.00", "–"],
        ["MixUp, MiSLAS", "2", "61.50 ± 0.71", "8.00 ± 0.00", "7.00 ± 0.00", "4.83"],
        ["MixUp+SAR, MiSLAS", "2", "61.50 ± 0.71", "9.00 ± 0.00", "8.00 ± 0.00", "–"],
    ]
    assert tables.frame["ece_mean"].tolist()[:2] == [8.0, 9.0]
    assert tables.frame["ece_best_mean"].tolist()[:2] == [7.0, 8.0]
    notes = " ".join(tables.tables[1].notes)
    assert "more than 100" in notes
    assert "Published by MiSLAS (ECE with 15 bins; best epoch on the test set)." in notes


def test_groups_by_index_have_names_and_a_note_of_their_own(tmp_path: Path) -> None:
    suite = load_suite(CONFIGS, "cifar10_lt")
    metrics = {"many_shot_index": 80.0, "medium_shot_index": 70.0, "few_shot_index": 60.0, "ece": 5.0}
    write_run(tmp_path, make_record("cifar10_lt", "mixup", 1, 71.0, metrics=metrics))
    table = suite_tables(suite, tmp_path).tables[-1]
    assert table.title.endswith(": shot groups and calibration")
    assert list(table.frame.columns)[2:] == ["many (by index)", "medium (by index)", "few (by index)", "ECE"]
    assert list(table.frame.iloc[0])[2:] == ["80.00", "70.00", "60.00", "5.00"]
    assert "0-2, 3-6, 7-9 of 10" in " ".join(table.notes)
    assert "more than 100" not in " ".join(table.notes)


def test_a_second_stage_joins_only_the_run_that_it_names(two_stages: Suite, tmp_path: Path) -> None:
    """The full first stage has no second stage yet; the shortened one has, and it must not slip beside the full one."""
    write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.5))
    short = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 20.0, epochs=20), "seed1-epochs20")
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 25.0, short))
    lines = cells(suite_tables(two_stages, tmp_path))[:2]
    assert [line[0] for line in lines] == ["MixUp", "MixUp (20 of 200 epochs) [1]"]
    assert lines[0][6:9] == ["MiSLAS", "47.00", "–"]
    assert lines[1][6:9] == ["MiSLAS (stage 1: 20 of 200 epochs) [2]", "–", "25.00 (n = 1)"]
    assert lines[1][10] == "–"  # no difference to the paper


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"epochs": 20}, {}, "by another recipe (length of stage 1)"),
        ({}, {"epochs": 2}, "by another recipe (length)"),
        ({}, {"overrides": {"hold": "frozen"}}, "by another recipe (options)"),
        ({"precision": "bf16"}, {"precision": "bf16"}, "by another recipe (precision, precision of stage 1)"),
        ({"seed": 2}, {}, "with other seeds"),
    ],
)
def test_a_missing_difference_of_a_second_stage_is_explained(
    two_stages: Suite, tmp_path: Path, first: dict, second: dict, reason: str
) -> None:
    plain = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.0))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 46.0, plain))
    ours = write_run(tmp_path, make_record("cifar100_lt", "mixup_sar", **{"seed": 1, "top1": 40.0, **first}))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_sar_mislas", 47.0, ours, **second))
    notes = [note for note in suite_tables(two_stages, tmp_path).tables[0].notes if note.startswith("No difference")]
    (about,) = [note for note in notes if ", stage 2: " in note]
    assert about.startswith("No difference is given of Mi")
    assert f": the baseline was run {reason}, and only runs by one recipe with the same seeds are compared." in about
    # neither where there is a difference, nor where the baseline was not run at all
    ours = write_run(tmp_path, make_record("cifar100_lt", "mixup_sar", 1, 40.0), "same")
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_sar_mislas", 47.0, ours), "same")
    frame = suite_tables(two_stages, tmp_path, warn=lambda _: None).frame  # of two runs of a seed the newer counts
    assert frame[frame["row"] == "mixup_sar_mislas"]["to_baseline"].notna().any()


def test_a_difference_to_a_baseline_that_was_not_run_needs_no_words(two_stages: Suite, tmp_path: Path) -> None:
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup_sar", 1, 40.0))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_sar_mislas", 47.0, one))
    assert not [note for note in suite_tables(two_stages, tmp_path).tables[0].notes if "No difference" in note]


def test_a_second_stage_whose_first_stage_was_run_anew_is_not_joined(two_stages: Suite, tmp_path: Path) -> None:
    old = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.0))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 46.0, old))
    (tmp_path / "cifar100_lt" / "mixup" / "seed1" / "record.json").unlink()
    new = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 41.0))
    assert new["run_id"] != old["run_id"]
    lines = cells(suite_tables(two_stages, tmp_path))
    assert lines[0][2] == "41.00 (n = 1)"
    assert lines[0][8] == "–"
    assert lines[-1][:3] == ["MixUp", "–", "–"]
    assert lines[-1][6] == "MiSLAS (its stage-1 run is not here)"
    assert lines[-1][8] == "46.00 (n = 1)"


def test_a_second_stage_without_any_first_stage_keeps_its_own_line(two_stages: Suite, tmp_path: Path) -> None:
    lost = write_run(tmp_path / "elsewhere", make_record("cifar100_lt", "mixup", 1, 39.0, epochs=20))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 25.0, lost))
    line = next(line for line in cells(suite_tables(two_stages, tmp_path)) if line[8] != "–")
    assert line[0] == "MixUp"
    assert line[6] == "MiSLAS (stage 1: 20 of 200 epochs, its stage-1 run is not here) [1]"


def test_a_second_stage_from_another_row_is_no_reproduction(two_stages: Suite, tmp_path: Path) -> None:
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup_sar", 1, 40.0))
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 47.0, one))
    line = next(line for line in cells(suite_tables(two_stages, tmp_path)) if line[8] == "47.00 (n = 1)")
    assert line[6] == "MiSLAS (stage 1 is mixup_sar) [1]"
    assert line[10] == "–"


def test_optional_second_stage_is_compared_with_the_run_it_started_from(two_stages: Suite, tmp_path: Path) -> None:
    for seed in (1, 2):
        one = write_run(tmp_path, make_record("cifar100_lt", "mixup", seed, 39.0 + seed))
        write_run(tmp_path, second_stage("cifar100_lt", "crt", 41.0 + seed, one))
    tables = suite_tables(two_stages, tmp_path)
    assert tables.tables[1].title.endswith(": further rows")
    assert cells(tables, 1) == [
        [
            *("MixUp", "39.50", "40.50 ± 0.71 (n = 2)", "41.00 ± 0.71", "+1.00", "–"),
            *("cRT", "–", "42.50 ± 0.71 (n = 2)", "43.00 ± 0.71", "–", "+2.00 [+2.00, +2.00] (2 pairs)"),
        ],
    ]
    assert tables.frame.set_index("row").loc["crt", "to_baseline"] == pytest.approx(2.0)


def test_a_label_that_names_its_first_stage_does_not_get_it_twice(tmp_path: Path) -> None:
    text = TWO_STAGES + '\n[[rows]]\nname = "long"\nlabel = "MixUp, twice as long"\nafter = "mixup"\n'
    suite = make_suite(tmp_path, "cifar100_lt", text)
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.0))
    write_run(tmp_path, second_stage("cifar100_lt", "crt", 41.0, one))
    write_run(tmp_path, second_stage("cifar100_lt", "long", 41.0, one))
    labels = [line[0] for line in cells(suite_tables(suite, tmp_path), -1)]
    assert labels == ["MixUp", "MixUp, MiSLAS", "MixUp, cRT", "MixUp, twice as long"]


def test_tables_of_mislas_say_that_its_figures_are_best_epochs(two_stages: Suite, small: Suite, tmp_path: Path) -> None:
    def said(tables: SuiteTables) -> list[bool]:
        return [any("best test epoch" in note for note in table.notes) for table in tables.tables]

    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 39.0))
    write_run(tmp_path, second_stage("cifar100_lt", "crt", 41.0, one))
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0))
    tables = suite_tables(two_stages, tmp_path)
    assert [table.title.rpartition(": ")[2] for table in tables.tables][1:] == [
        "further rows",
        "shot groups and calibration",
    ]
    assert said(tables) == [True, True, False]  # the third has no top-1 of the paper
    assert said(suite_tables(small, tmp_path)) == [False]


def test_a_metric_that_some_records_do_not_know_says_how_many_do(two_stages: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, with_extra(make_record("cifar100_lt", "mixup", 1, 39.0), 60.0, 8.0))
    for seed in (2, 3):
        write_run(tmp_path, make_record("cifar100_lt", "mixup", seed, 39.0, metrics={"many_shot": 60.0 + seed}))
    extra = suite_tables(two_stages, tmp_path).tables[-1].frame
    assert extra.iloc[0].tolist()[1:3] == ["3", "61.67 ± 1.53"]
    assert "8.00 (1 of 3)" in extra.iloc[0].tolist()
