"""Suites: reading, checking and choosing rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.metrics.accuracy import evaluate, evaluate_calibrated
from sar_cls.metrics.segmentation import evaluate_segmentation
from sar_cls.suites.listing import describe
from sar_cls.suites.metric_names import METRICS
from sar_cls.suites.places import SUITE_FILE
from sar_cls.suites.rows import list_suites, load_suite, select_rows

from .small_suite import HEAD, ROWS, write_suite

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_import_needs_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, sar_cls.suites.rows, sar_cls.runs.record;"
        "print([m for m in ('torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'mmengine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shipped_suites_are_sound() -> None:
    names = list_suites(CONFIGS)
    assert {"digits", "digits_lt", "cifar100", "cifar100_lt", "cifar10_lt", "cub200"} <= set(names)
    for name in names:
        suite = load_suite(CONFIGS, name)
        assert suite.title in describe(suite)
        for row in suite.rows:
            assert row.source.config.is_file(), f"{name}/{row.name} has no config"


def test_config_is_named_after_the_row_unless_the_row_names_another(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + ROWS + 'config = "shared.py"\n')
    assert [row.source.config.name for row in load_suite(tmp_path, "small").rows] == ["plain.py", "shared.py"]


def test_default_job_shows_the_two_stages_as_well() -> None:
    digits = load_suite(CONFIGS, "digits")
    assert [suite.name for suite in digits.all_suites] == ["digits", "digits_lt"]
    assert [row.name for row in digits.rows if not row.optional] == ["baseline", "fixed", "center", "car", "sar"]
    assert [row.suite for row in select_rows(digits)] == ["digits"] * 5 + ["digits_lt"] * 4


def test_rows_of_table_10_in_the_papers_order() -> None:
    rows = select_rows(load_suite(CONFIGS, "cifar100_lt"))
    first = [(row.label, row.stage, row.after) for row in rows if row.stage == 1]
    assert first == [("MixUp", 1, None), ("MixUp+CAR", 1, None), ("MixUp+SAR", 1, None)]
    assert [row.after for row in rows if row.stage == 2] == ["mixup", "mixup_car", "mixup_sar"]


def test_optional_rows_run_only_on_request() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    assert "ce" not in {row.name for row in select_rows(suite)}
    assert "ce" in {row.name for row in select_rows(suite, all_rows=True)}
    assert [row.name for row in select_rows(suite, ["focal"])] == ["focal"]


def test_a_second_stage_brings_its_first_stage_along_and_order_is_the_tables() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    assert [row.name for row in select_rows(suite, ["crt", "mixup_sar"])] == ["mixup_sar", "ce", "crt"]


def test_row_of_an_included_suite_may_be_named_with_its_suite() -> None:
    digits = load_suite(CONFIGS, "digits")
    assert [(row.suite, row.name) for row in select_rows(digits, ["digits_lt/mixup"])] == [("digits_lt", "mixup")]


@pytest.mark.parametrize("included", [["owner", "guest"], ["guest", "owner"]])
def test_a_row_runs_where_any_part_has_it_without_optional(included: list[str], tmp_path: Path) -> None:
    """A suite that shows another's row as an optional one does not take it out of that one's default run."""
    write_suite(tmp_path, HEAD + ROWS, "owner")
    shown = '[[rows]]\nsuite = "owner"\nname = "plain"\nlabel = "Theirs"\noptional = true\n'
    write_suite(tmp_path, HEAD + shown, "guest")
    write_suite(tmp_path, HEAD + f"include = {included}\n" + ROWS, "both")
    wanted = {(suite, name) for suite in ("both", "owner") for name in ("plain", "sar")}
    found = [row.key for row in select_rows(load_suite(tmp_path, "both"))]
    assert (set(found), len(found)) == (wanted, 4)
    assert select_rows(load_suite(tmp_path, "guest")) == []


def test_unknown_suite_and_row_suggest_near_names() -> None:
    with pytest.raises(InputError, match=r"unknown suite 'cifar_100'; did you mean .*cifar100"):
        load_suite(CONFIGS, "cifar_100")
    with pytest.raises(InputError, match=r"unknown suite '\.\./digits'"):
        load_suite(CONFIGS, "../digits")
    with pytest.raises(InputError, match=r"unknown row 'resnet18_sra' in suite 'cifar100'; did you mean resnet18_sar"):
        select_rows(load_suite(CONFIGS, "cifar100"), ["resnet18_sra"])
    with pytest.raises(InputError, match="known are baseline, fixed"):
        select_rows(load_suite(CONFIGS, "digits"), ["qqqq"])


@pytest.mark.parametrize("line", ['metric = "top_1"', 'metric = "top1"\nextra_metrics = ["top1", "mny_shot"]'])
def test_a_metric_that_no_record_has(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine").mkdir()
    text = f'title = "T"\n{line}\n[[rows]]\nname = "a"\nlabel = "A"\nconfig = "digits/baseline.py"\n'
    (tmp_path / "mine" / SUITE_FILE).write_text(text)
    with pytest.raises(InputError, match=r"suite.toml:[23]: unknown metric '(top_1|mny_shot)'; did you mean"):
        load_suite(tmp_path, "mine")


def test_the_metrics_of_suites_are_those_of_records() -> None:
    logits, labels = torch.eye(10), torch.arange(10)
    found = evaluate(logits, labels, [200] * 4 + [50] * 3 + [5] * 3, superclasses=[0] * 10) | evaluate_calibrated(
        logits, labels, logits, labels
    )
    found |= evaluate_segmentation(torch.eye(150, dtype=torch.int64), list(range(150, 0, -1)))
    counted = {"pixels"}
    assert set(METRICS) == {name for name, value in found.items() if not isinstance(value, list)} - counted


def test_folder_without_suites(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no suites in"):
        load_suite(tmp_path, "digits")


def test_suites_that_include_each_other(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + 'include = ["b"]\n' + ROWS, "a")
    write_suite(tmp_path, HEAD + 'include = ["a"]\n' + ROWS, "b")
    with pytest.raises(InputError, match=r"b/suite.toml:3: suite 'a' includes itself"):
        load_suite(tmp_path, "a")
