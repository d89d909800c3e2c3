"""Tables: what stands where, what is averaged, what is marked. Figures are computed by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import SHA_TEST, make_record, second_stage, write_run

from sar_cls.cli import CONFIGS
from sar_cls.official_images import RECOVERED
from sar_cls.reporting.tables.suite_tables import SuiteTables, suite_tables, tables_from_records, write_tables
from sar_cls.suites.rows import Suite, load_suite

SMALL = """
title = "CIFAR-100"
paper_table = "8"
paper_dataset = "CIFAR-100"
metric = "top1"

[[rows]]
name = "resnet18"
label = "ResNet-18"
paper = "ResNet-18"

[[rows]]
name = "resnet18_sar"
label = "ResNet-18+SAR"
baseline = "resnet18"
paper = "ResNet-18+SAR"
"""
TWO_STAGES = """
title = "CIFAR-100-LT"
paper_table = "10"
paper_dataset = "CIFAR-100-LT IF={imbalance}"
imbalance = 100
metric = "top1"
extra_metrics = ["many_shot", "ece"]

[[rows]]
name = "mixup"
label = "MixUp"
paper = "MixUp"

[[rows]]
name = "mixup_sar"
label = "MixUp+SAR"
baseline = "mixup"
paper = "MixUp+SAR"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
paper = "MixUp"

[[rows]]
name = "mixup_sar_mislas"
label = "MiSLAS"
after = "mixup_sar"
baseline = "mixup_mislas"
paper = "MixUp+SAR"

[[rows]]
name = "crt"
label = "cRT"
after = "mixup"
baseline = "mixup"
optional = true
"""


@pytest.fixture
def small(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100", SMALL)


@pytest.fixture
def two_stages(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100_lt", TWO_STAGES)


def make_suite(tmp_path: Path, name: str, text: str) -> Suite:
    folder = tmp_path / "configs" / name
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    return load_suite(tmp_path / "configs", name)


def with_extra(record: dict, many_shot: float, ece: float) -> dict:
    """The record with further metrics; its best epoch is better calibrated by one point."""
    record["metrics"]["last"] |= {"many_shot": many_shot, "ece": ece}
    record["metrics"]["best"] |= {"many_shot": many_shot, "ece": ece - 1}
    return record


def cells(tables: SuiteTables, table: int = 0) -> list[list[str]]:
    return [list(row) for row in tables.tables[table].frame.itertuples(index=False)]


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


def test_shortened_runs_have_a_line_of_their_own_and_no_difference_to_the_paper(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0))
    for row, top1 in (("resnet18", 30.0), ("resnet18_sar", 31.5)):
        write_run(tmp_path, make_record("cifar100", row, 1, top1, epochs=20), "seed1-epochs20")
    tables = suite_tables(small, tmp_path)
    assert cells(tables) == [
        ["ResNet-18", "78.07", "78.00 (n = 1)", "78.50", "-0.07", "–"],
        ["ResNet-18 (20 of 200 epochs) [1]", "–", "30.00 (n = 1)", "30.50", "–", "–"],
        ["ResNet-18+SAR (20 of 200 epochs) [1]", "78.78", "31.50 (n = 1)", "32.00", "–", "+1.50 (1 pair)"],
    ]
    assert tables.tables[0].notes[0] == "[1] 20 of 200 epochs: not a reproduction."
    assert list(tables.frame["reproduction"]) == [True, False, False]


def test_other_overrides_are_marked_too(small: Suite, tmp_path: Path) -> None:
    write_run(
        tmp_path, make_record("cifar100", "resnet18", 1, 78.0, overrides={"val_fraction": 0.1, "full_epochs": True})
    )
    assert cells(suite_tables(small, tmp_path))[0][0] == "ResNet-18 (full epochs, val fraction 0.1) [1]"


@pytest.mark.parametrize(
    ("weights", "shown"),
    [
        (
            "efficientnet-lite0-57934424-57934424",
            "efficientnet-lite0-57934424",
        ),  # the file's own name ends with its hash
        ("mine-0123abcd", "mine-0123abcd"),
        ("mine-57934424-0123abcd", "mine-57934424-0123abcd"),
    ],
)
def test_the_hash_of_weights_is_shown_once(small: Suite, tmp_path: Path, weights: str, shown: str) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0, overrides={"weights": weights}))
    assert cells(suite_tables(small, tmp_path))[0][0] == f"ResNet-18 (weights {shown}) [1]"


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"precision": "bf16"}, "ResNet-18 (bf16)"),
        ({"config_hash": "fedcba9876543210"}, "ResNet-18 (config fedcba98)"),
        ({"data_fingerprint": {"train": "c" * 64, "test": SHA_TEST}}, "ResNet-18 (data cccccccc)"),
    ],
)
def test_runs_of_different_recipes_are_never_averaged(small: Suite, tmp_path: Path, change: dict, label: str) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 2, 72.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 3, 90.0, **change))
    lines = cells(suite_tables(small, tmp_path))
    assert len(lines) == 3  # two of the plain net, one empty of SAR
    assert {line[2] for line in lines} == {"71.00 ± 1.41 (n = 2)", "90.00 (n = 1)", "–"}
    assert label in [line[0] for line in lines]


@pytest.mark.parametrize(
    "change", [{"data_fingerprint": {"train": "c" * 64, "test": SHA_TEST}}, {"precision": "bf16"}, {"epochs": 20}]
)
def test_rows_are_compared_only_by_comparable_recipes(small: Suite, tmp_path: Path, change: dict) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "resnet18_sar", 1, 71.0, **change))
    assert cells(suite_tables(small, tmp_path))[1][-1] == "–"


def test_of_several_baselines_the_one_with_more_common_seeds_then_the_newer(small: Suite, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, 70.0), f"seed{seed}")
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, 71.0))
    newer = {"config_hash": "other", "finished_at": "2025-01-01T00:00:00+00:00"}
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 60.0, **newer), "seed1-new")
    assert cells(suite_tables(small, tmp_path))[-1][-1].startswith("+1.00 [")
    write_run(tmp_path, make_record("cifar100", "resnet18", 2, 60.0, **newer), "seed2-new")
    assert cells(suite_tables(small, tmp_path))[-1][-1].startswith("+11.00 [")


def test_a_seed_that_was_run_twice_counts_once(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0, finished_at="2024-05-01T00:00:00+00:00"), "a")
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 60.0, finished_at="2024-04-01T00:00:00+00:00"), "b")
    sentences: list[str] = []
    assert cells(suite_tables(small, tmp_path, warn=sentences.append))[0][2] == "70.00 (n = 1)"
    assert sentences == ["cifar100/resnet18 was run twice with seed 1: the newer run counts."]


def test_half_written_records_and_unknown_rows_are_left_out(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "gone", 1, 70.0))
    broken = tmp_path / "cifar100" / "resnet18" / "seed2"
    broken.mkdir()
    (broken / "record.json").write_text('{"schema": 1, "suite": "cif', encoding="utf-8")
    sentences: list[str] = []
    assert cells(suite_tables(small, tmp_path, warn=sentences.append))[0][2] == "70.00 (n = 1)"
    assert len(sentences) == 2
    assert "half-written" in sentences[0]
    assert "no row 'gone'" in sentences[1]


def test_metric_that_was_not_finite_is_left_out_of_the_mean(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    broken = make_record("cifar100", "resnet18", 2, 70.0)
    broken["metrics"] = {"last": {"top1": float("nan")}, "best": {"top1": 50.0}}
    write_run(tmp_path, broken)
    assert cells(suite_tables(small, tmp_path))[0][2] == "70.00 (n = 1)"


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


def test_beside_runs_no_stage_and_no_imbalance_factor_without_any(two_stages: Suite, tmp_path: Path) -> None:
    overrides = {"imbalance": 50.0}
    one = write_run(tmp_path, make_record("cifar100_lt", "mixup", 1, 45.0, overrides=overrides))
    tables = suite_tables(two_stages, tmp_path)
    assert {table.title.partition(":")[0] for table in tables.tables} == {"CIFAR-100-LT, imbalance factor 50"}
    assert all(column.startswith(("stage 1", "1: ")) for column in tables.tables[0].frame.columns)
    write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 52.0, one, overrides=overrides))
    assert "stage 2" in suite_tables(two_stages, tmp_path).tables[0].frame.columns


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


class TestFamilies:
    """All rows that are compared with the same runs, and no others, are adjusted together."""

    ROW = '[[rows]]\nname = "{0}"\nlabel = "{0}"\nbaseline = "resnet18"\noptional = {1}\n'

    def suite(self, tmp_path: Path) -> Suite:
        text = SMALL + self.ROW.format("car", "false") + self.ROW.format("center", "true")
        return make_suite(tmp_path, "cifar100", text)

    def write(self, tmp_path: Path, name: str, gains: tuple[float, ...], **changes: object) -> None:
        for seed, gain in enumerate(gains):
            write_run(tmp_path, make_record("cifar100", name, seed, 78.0 + seed + gain, **changes), f"{gains}-{seed}")

    def test_one_row_alone_has_no_further_column(self, tmp_path: Path) -> None:
        self.write(tmp_path, "resnet18", (0.0, 0.0, 0.0))
        self.write(tmp_path, "resnet18_sar", (1.0, 2.0, 3.0))
        self.write(tmp_path, "car", (1.0,))
        tables = suite_tables(self.suite(tmp_path), tmp_path)
        assert "Holm" not in tables.to_markdown()
        line = tables.frame.set_index("row").loc["resnet18_sar"]
        assert line["p"] == pytest.approx(1 - (12 / 14) ** 0.5)
        assert pd.isna(line["p_holm"])

    def test_optional_rows_belong_to_the_family_and_those_of_another_recipe_to_their_own(self, tmp_path: Path) -> None:
        self.write(tmp_path, "resnet18", (0.0, 0.0, 0.0))
        for name, gains in (("resnet18_sar", (1.0, 2.0, 3.0)), ("car", (-1.0, 0.0, 1.0)), ("center", (-2.0, 0.0, 2.0))):
            self.write(tmp_path, name, gains)
        for name, gains in (("resnet18", (0.1, 0.0, 0.0)), ("resnet18_sar", (0.0, 0.0, 0.3)), ("car", (0.0, 0.5, 0.0))):
            self.write(tmp_path, name, gains, epochs=2)
        tables = suite_tables(self.suite(tmp_path), tmp_path)
        # p = 0.0742 times 3; t with 2 degrees of freedom at 1 - 0.05/6 is 7.6488, over sqrt 3: 4.4160.
        main = {line[0]: line[-1] for line in cells(tables)}
        assert main["ResNet-18"] == "–"
        assert main["ResNet-18+SAR"] == "0.223 [-2.42, +6.42]"
        assert main["car"] == "1.000 [-4.42, +4.42]"
        assert cells(tables, 1)[-1][-1] == "1.000 [-8.83, +8.83]"
        assert list(tables.tables[0].frame.columns)[-1] == "Holm p [simultaneous 95 %]"
        assert sum("Holm 1979" in note and "(here 2 or 3;" in note for note in tables.tables[0].notes) == 1
        assert list(tables.frame["family"].dropna()) == [3, 2, 3, 2, 3]


OTHER_TASK = """
title = "Ablation"
paper_table = "7"
paper_dataset = "Cityscapes"
paper_task = "segmentation, HRNet on Cityscapes, mIoU"
metric = "top1"
extra_metrics = ["ece"]

[[rows]]
name = "ce"
label = "CE"
paper = "CE"

[[rows]]
name = "nd"
label = "CE+p2a"
baseline = "ce"
paper = "CE+p2a ND"
"""


RECOVERED_ORDER = {"data_order": RECOVERED}


class TestFiguresOfAnotherTask:
    """They are shown under their own heading and never set against ours."""

    def test_table(self, tmp_path: Path) -> None:
        suite = make_suite(tmp_path, "ablation", OTHER_TASK)
        for seed in (1, 2):
            write_run(tmp_path, make_record("ablation", "ce", seed, 70.0 + seed))
            write_run(tmp_path, make_record("ablation", "nd", seed, 71.0 + seed))
        tables = suite_tables(suite, tmp_path)
        table = tables.tables[0]
        assert table.title == "Ablation (paper Tab. 7, of another task)"
        assert list(table.frame.columns[:5]) == [
            "method",
            "paper (segmentation, HRNet on Cityscapes, mIoU)",
            "last epoch: mean ± std (n)",
            "best epoch",
            "Δ CE [95 %]",
        ]
        assert [line[:4] for line in cells(tables)] == [
            ["CE", "79.90", "71.50 ± 0.71 (n = 2)", "72.00 ± 0.71"],
            ["CE+p2a", "79.80 to 80.30", "72.50 ± 0.71 (n = 2)", "73.00 ± 0.71"],
        ]
        assert "Δ paper" not in tables.to_markdown()
        assert any("of another task (segmentation, HRNet on Cityscapes, mIoU)" in note for note in table.notes)
        assert list(tables.frame["paper"]) == [79.9, 79.8]
        assert list(tables.frame["paper_max"])[1] == 80.3
        assert set(tables.frame["paper_task"]) == {"segmentation, HRNet on Cityscapes, mIoU"}
        assert tables.frame["to_paper"].isna().all()

    def test_of_our_task_without_the_key(self, small: Suite, tmp_path: Path) -> None:
        write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0))
        frame = suite_tables(small, tmp_path).frame
        assert frame["paper_task"].isna().all()
        assert frame["to_paper"].notna().any()

    def test_both_stages(self, tmp_path: Path) -> None:
        text = OTHER_TASK.replace("[[rows]]", "imbalance = 100\n[[rows]]", 1)
        text += '[[rows]]\nname = "nd_mislas"\nlabel = "MiSLAS"\nafter = "nd"\n'
        suite = make_suite(tmp_path, "ablation", text)
        one = write_run(tmp_path, make_record("ablation", "nd", 1, 39.0))
        write_run(tmp_path, second_stage("ablation", "nd_mislas", 47.0, one))
        frame = suite_tables(suite, tmp_path).tables[0].frame
        assert [list(line) for line in frame.filter(like="paper").itertuples(index=False)] == [
            ["79.90", "–"],
            ["79.80 to 80.30", "–"],
        ]
        assert [name for name in frame.columns if "paper" in name] == [
            f"{stage}: paper (segmentation, HRNet on Cityscapes, mIoU)" for stage in (1, 2)
        ]

    def test_images_of_a_tail_without_a_figure_of_our_task_need_not_be_the_published_ones(self, tmp_path: Path) -> None:
        text = OTHER_TASK.replace("[[rows]]", "imbalance = 100\n[[rows]]", 1)
        suite = make_suite(tmp_path, "ablation", text)
        write_run(tmp_path, make_record("ablation", "ce", 1, 39.0, extra=RECOVERED_ORDER))
        assert list(suite_tables(suite, tmp_path).frame["deviations"].dropna()) == []
        ours = make_suite(tmp_path, "ours", "".join(line for line in text.splitlines(True) if "paper_task" not in line))
        write_run(tmp_path, make_record("ours", "ce", 1, 39.0, extra=RECOVERED_ORDER))
        assert list(suite_tables(ours, tmp_path).frame["deviations"].dropna()) == [
            "other images than the published subset"
        ]


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


class TestNotesOnRuns:
    """What the records say about threads and lost checkpoints is said under the table."""

    def notes(self, tmp_path: Path, ours: dict, theirs: dict, **changes: object) -> str:
        suite = make_suite(tmp_path, "s", SMALL)
        write_run(tmp_path, make_record("s", "resnet18", 1, 70.0, machine=theirs, **changes))
        write_run(tmp_path, make_record("s", "resnet18_sar", 1, 71.0, machine=ours, **changes))
        return suite_tables(suite, tmp_path).to_markdown()

    @pytest.mark.parametrize(
        ("ours", "theirs", "device", "said"),
        [
            ({"threads": 1}, {"threads": 2}, "cpu", True),
            ({"threads": 2, "threads_used": [1, 2]}, {"threads": 2}, "cpu", True),
            ({"threads": 2}, {"threads": 2}, "cpu", False),
            ({"threads": 1}, {"threads": 2}, "cuda", False),
            ({"threads": 1}, {}, "cpu", False),  # an old record does not know
            ({}, {}, "cpu", False),
        ],
    )
    def test_pairs_of_other_threads(self, tmp_path: Path, ours: dict, theirs: dict, device: str, said: bool) -> None:
        text = self.notes(tmp_path, ours, theirs, device=device)
        assert "+1.00 (1 pair)" in text
        assert ("different numbers of CPU threads" in text) == said

    def test_a_lost_best_epoch(self, tmp_path: Path) -> None:
        text = self.notes(tmp_path, {}, {}, extra={"lost_best_epoch": 3, "best_searched_from": 4})
        assert "In 2 runs the checkpoint of the best epoch was lost" in text
