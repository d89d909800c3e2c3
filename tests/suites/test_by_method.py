"""Rows for what stage1.py and stage2.py were asked for beyond a suite's own rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.two_stage import first_stage_methods, second_stage_methods
from sar_cls.suites.by_method import folder_suite, with_methods
from sar_cls.suites.rows import Suite, load_suite


@pytest.fixture(scope="module")
def folders() -> Suite:
    suite = folder_suite(CONFIGS)
    assert suite is not None
    return suite


def test_an_image_folder_can_have_every_method(folders: Suite) -> None:
    firsts = [row.name.removeprefix("mixup_") for row in folders.rows if row.stage == 1]
    assert firsts == first_stage_methods(CONFIGS)
    for method in second_stage_methods(CONFIGS):
        assert folders.row(f"mixup_sar_{method}").after == "mixup_sar"
        assert folders.row(f"mixup_sar_{method}").baseline == f"mixup_{method}"


def test_nothing_stands_beside_the_papers_figures(folders: Suite) -> None:
    assert folders.published_dataset(100) is None
    assert all(row.paper is None and row.suite == "folder_lt" for row in folders.rows)


@pytest.mark.parametrize("name", ["cifar100_lt", "cifar10_lt", "digits_lt"])
def test_a_suites_own_rows_stay_as_they_are(name: str) -> None:
    suite = load_suite(CONFIGS, name)
    full = with_methods(suite, CONFIGS)
    assert full.rows[: len(suite.rows)] == suite.rows
    added = full.rows[len(suite.rows) :]
    names = [row.name for row in full.rows]
    assert added
    assert len(set(names)) == len(names)
    assert all(row.baseline is None or row.baseline in names for row in added)
    # The second stage that the suite has a row for is run under the name of that row.
    pairs = [(row.after, row.method) for row in full.rows if row.stage == 2]
    assert len(set(pairs)) == len(pairs)


def test_configs_of_ones_own_without_the_general_suite(tmp_path: Path) -> None:
    assert folder_suite(tmp_path) is None
    suite = load_suite(CONFIGS, "digits_lt")
    assert with_methods(suite, tmp_path) is suite
