"""Rows for what stage1.py and stage2.py were asked for beyond a suite's own rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.two_stage import first_stage_methods, second_stage_methods
from sar_cls.suites import places
from sar_cls.suites.by_method import folder_suite, with_methods
from sar_cls.suites.rows import Suite, load_suite

from .small_suite import write_suite


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


OWN = """
title = "A suite of one's own"
metric = "top1"

[[rows]]
name = "plain"
label = "Plain"
config = "digits_lt/mixup.py"

[[rows]]
name = "other"
label = "Other"
like = "plain"

[[rows]]
name = "plain_mine"
label = "Plain, mine"
config = "digits_lt/mislas.py"
after = "plain"
method = "mine"
"""


def test_a_suite_of_ones_own_has_the_methods_that_come_along_and_its_own_after_each_first_stage(tmp_path: Path) -> None:
    write_suite(tmp_path, OWN, "tails")
    suite = load_suite(tmp_path, "tails")
    full = with_methods(suite, tmp_path)
    assert full.rows[:3] == suite.rows
    for method in (*second_stage_methods(CONFIGS), "mine"):
        assert full.row(f"other_{method}").after == "other"
        assert full.row(f"other_{method}").suite == "tails"
    assert full.full_label(full.row("other_mine")) == "Other, mine"
    assert second_stage_methods(tmp_path, "tails") == [*second_stage_methods(CONFIGS), "mine"]
    assert first_stage_methods(tmp_path) == first_stage_methods(CONFIGS)


def test_folders_are_shown_beside_suites_of_ones_own(tmp_path: Path, folders: Suite) -> None:
    write_suite(tmp_path, OWN, "tails")
    assert folder_suite(tmp_path) == folders


def test_no_general_suite_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite(CONFIGS, "digits_lt")
    monkeypatch.setattr(places, "CONFIGS", tmp_path / "none")
    assert folder_suite(tmp_path) is None
    assert with_methods(suite, tmp_path) is suite
