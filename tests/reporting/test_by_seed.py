"""One line a seed: what stands where, means and differences by hand, the paper's figures as those of another task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import make_record, second_stage, write_run

from sar_cls.reporting.tables.by_seed import seed_tables
from sar_cls.runs.ledger import scan
from sar_cls.suites.rows import Suite, load_suite

TEXT = """
title = "Tail"
paper_table = "10"
imbalance = 10
metric = "top1"

[[rows]]
name = "mixup"
label = "MixUp"

[[rows]]
name = "mixup_sar"
label = "MixUp+SAR"
baseline = "mixup"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"

[[rows]]
name = "mixup_sar_mislas"
label = "MiSLAS"
after = "mixup_sar"
baseline = "mixup_mislas"
"""
TAB_14, TAB_15 = (
    f"paper Tab. {number} (segmentation, {what}, mIoU)"
    for number, what in ((14, "HRNet on Cityscapes"), (15, "DeepLabV3 on Pascal-Context"))
)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    folder = tmp_path / "configs" / "tail"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(TEXT, encoding="utf-8")
    return load_suite(tmp_path / "configs", "tail")


def test_a_suite_without_a_table_in_the_paper_stands_alone(suite: Suite, tmp_path: Path) -> None:
    for name in ("mixup", "mixup_sar"):
        write_run(tmp_path, make_record("tail", name, 1, 78.0, dataset="digits"))
    (table,) = tables_of(replace(suite, paper_table=None), tmp_path).tables
    assert table.frame["seed"].tolist() == ["1", "mean ± std"]
    assert list(table.frame.columns) == ["seed", "MixUp", "MixUp+SAR"]
    assert not [note for note in table.notes if "paper" in note]


def test_precisions_are_told_apart_in_the_numbers(suite: Suite, tmp_path: Path) -> None:
    for precision, gain in (("fp32", -0.6), ("bf16", 0.6)):
        for name, value in (("mixup", 78.0), ("mixup_sar", 78.0 + gain)):
            write_run(tmp_path, make_record("tail", name, 0, value, dataset="digits", precision=precision), precision)
    frame = tables_of(suite, tmp_path).frame
    found = frame[frame["row"] == "mixup_sar"].set_index("precision")["to_baseline"]
    assert found.to_dict() == {"fp32": pytest.approx(-0.6), "bf16": pytest.approx(0.6)}
    assert frame["config_hash"].notna().all()


def test_beside_a_segmentation_net_the_papers_figures_are_of_its_task(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "tail"
    folder.mkdir(parents=True)
    text = TEXT.replace("imbalance = 10\n", "").replace("top1", "miou")
    (folder / "suite.toml").write_text(text[: text.index('[[rows]]\nname = "mixup_mislas"')], encoding="utf-8")
    for name in ("mixup", "mixup_sar"):
        record = make_record("tail", name, 0, 70.0, dataset="cityscapes")
        record["metrics"] = {epoch: {"miou": figures["top1"]} for epoch, figures in record["metrics"].items()}
        write_run(tmp_path, record)
    (table,) = tables_of(load_suite(tmp_path / "configs", "tail"), tmp_path).tables
    assert not any("another task" in note for note in table.notes)


def tables_of(suite: Suite, work_dir: Path):
    return seed_tables([suite], [record for _, record in scan(work_dir)], pytest.fail)


def test_one_line_a_seed_the_papers_first(suite: Suite, tmp_path: Path) -> None:
    for seed, plain, sar in ((0, 70.0, 71.0), (1024, 72.0, None), (5555, 74.0, 77.0)):
        write_run(tmp_path, make_record("tail", "mixup", seed, plain, dataset="digits"))
        if sar is not None:
            write_run(tmp_path, make_record("tail", "mixup_sar", seed, sar, dataset="digits"))
    tables = tables_of(suite, tmp_path)
    (table,) = tables.tables
    assert table.title == "Tail, imbalance factor 10: seed by seed beside MixUp"
    assert list(table.frame.columns) == ["seed", "MixUp", "MixUp+SAR", TAB_14, TAB_15]
    # Differences 1 and 3: mean 2, deviation sqrt 2; of 70, 72, 74: 2; of 71, 77: sqrt 18. The paper's by hand from its tables.
    assert table.frame.to_numpy().tolist() == [
        ["1270964153", "–", "–", "79.90, 81.40 (+1.50)", "52.60, 53.30 (+0.70)"],
        ["1024", "72.00", "–", "79.80, 81.00 (+1.20)", "52.40, 53.40 (+1.00)"],
        ["5555", "74.00", "77.00 (+3.00)", "78.90, 80.10 (+1.20)", "52.60, 53.30 (+0.70)"],
        ["0", "70.00", "71.00 (+1.00)", "–", "–"],
        [
            "mean ± std",
            "72.00 ± 2.00",
            "74.00 ± 4.24 (+2.00 ± 1.41)",
            "79.53 ± 0.55, 80.83 ± 0.67 (+1.30 ± 0.17)",
            "52.53 ± 0.12, 53.33 ± 0.06 (+0.80 ± 0.17)",
        ],
    ]
    assert any("of another task" in note for note in table.notes)
    numbers = tables.frame.set_index(["row", "seed"])["to_baseline"]
    assert numbers[("mixup_sar", 5555)] == 3.0
    assert len(numbers) == 5
    assert numbers["mixup"].isna().all()
    assert not [column for column in tables.frame.columns if "paper" in column]


def test_each_stage_and_each_recipe_has_a_table_of_its_own(suite: Suite, tmp_path: Path) -> None:
    for name, gain in (("mixup", 0.0), ("mixup_sar", 1.0)):
        one = write_run(tmp_path, make_record("tail", name, 1, 70.0 + gain, dataset="digits"))
        write_run(tmp_path, second_stage("tail", f"{name}_mislas", 80.0 + gain, one, dataset="digits"))
        short = make_record(
            "tail", name, 1, 50.0 + gain, dataset="digits", epochs=2, finished_at="2023-01-01T00:00:00+00:00"
        )
        write_run(tmp_path, short, "short")
    tables = tables_of(suite, tmp_path).tables
    assert [(list(table.frame.columns[1:3]), list(table.frame.iloc[-1])[1:3]) for table in tables] == [
        (["MixUp", "MixUp+SAR"], ["70.00", "71.00 (+1.00)"]),
        (["MixUp (2 of 200 epochs) [1]", "MixUp+SAR (2 of 200 epochs) [1]"], ["50.00", "51.00 (+1.00)"]),
        (["MixUp, MiSLAS", "MixUp+SAR, MiSLAS"], ["80.00", "81.00 (+1.00)"]),
    ]
    assert "not a reproduction" in tables[1].notes[0]


def test_a_baseline_alone_is_no_comparison(suite: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("tail", "mixup", 1, 70.0, dataset="digits"))
    tables = tables_of(suite, tmp_path)
    assert tables.tables == ()
    assert tables.to_csv().startswith("suite,imbalance,stage,row,")
