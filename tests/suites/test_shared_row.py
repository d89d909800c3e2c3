"""Rows that one suite takes over from another: their runs are made once and shown in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.suites.listing import describe
from sar_cls.suites.rows import load_suite, select_rows

from .small_suite import HEAD, ROWS, write_suite

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BORROWED = '[[rows]]\nname = "sar"\nsuite = "small"\nlabel = "All of it"\n'
OTHER = HEAD + '[[rows]]\nname = "plain"\nlabel = "As before"\nsuite = "small"\ngroup = "G"\n\n' + BORROWED


def test_a_row_of_another_suite_keeps_its_runs_and_recipe_and_has_a_label_of_its_own(tmp_path: Path) -> None:
    set_tau = 'set.model.head.tau = 0.7\nconfig = "shared.py"\npaper = "SAR"\noptional = true\n'
    write_suite(tmp_path, HEAD + ROWS + set_tau)
    like = '\n[[rows]]\nname = "sar_2"\nlabel = "More"\nlike = "sar"\nbaseline = "sar"\nset.model.head.delta = 0.5\n'
    write_suite(tmp_path, OTHER + 'baseline = "plain"\n' + like, "other")
    origin = load_suite(tmp_path, "small").row("sar")
    plain, sar, more = load_suite(tmp_path, "other").rows
    assert [row.key for row in (plain, sar, more)] == [("small", "plain"), ("small", "sar"), ("other", "sar_2")]
    assert sar.source == origin.source
    assert (sar.label, sar.baseline, sar.paper, sar.optional) == ("All of it", "plain", None, False)
    assert (origin.label, origin.paper, origin.optional) == ("+SAR", "SAR", True)
    assert (plain.group, plain.baseline) == ("G", None)
    assert more.source.config == origin.source.config
    assert more.source.changes == {"model": {"head": {"tau": 0.7, "delta": 0.5}}}
    assert "All of it (runs of small)" in describe(load_suite(tmp_path, "other"))
    assert "(runs of" not in describe(load_suite(tmp_path, "small"))


def test_a_second_stage_after_a_row_of_another_suite(tmp_path: Path) -> None:
    second = '\n[[rows]]\nname = "then"\nlabel = "Then"\nafter = "sar"\n'
    write_suite(tmp_path, HEAD + ROWS + second)
    theirs = '\n[[rows]]\nname = "then"\nlabel = "Then"\nsuite = "small"\n'
    ours = '\n[[rows]]\nname = "later"\nlabel = "Later"\nafter = "sar"\nbaseline = "then"\n'
    write_suite(tmp_path, OTHER + theirs + ours, "other")
    suite = load_suite(tmp_path, "other")
    assert [(row.key, row.first) for row in suite.rows if row.stage == 2] == [
        (("small", "then"), ("small", "sar")),
        (("other", "later"), ("small", "sar")),
    ]
    assert [row.key for row in select_rows(suite, ["later"])] == [("small", "sar"), ("other", "later")]
    assert [row.key for row in select_rows(suite, ["small/then"])] == [("small", "sar"), ("small", "then")]
    assert suite.full_label(suite.row("later")) == "All of it, Later"
    own = load_suite(tmp_path, "small")
    assert own.row("then").first == ("small", "sar")
    assert own.row("sar").first is None


def test_a_suite_kept_elsewhere_takes_a_row_of_one_that_comes_along(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + '[[rows]]\nname = "sar"\nsuite = "digits"\nlabel = "Theirs"\n')
    (row,) = load_suite(tmp_path, "small").rows
    assert row.key == ("digits", "sar")
    assert row.source == load_suite(CONFIGS, "digits").row("sar").source


def test_a_row_that_an_included_suite_has_as_well_is_run_once(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + ROWS)
    write_suite(tmp_path, OTHER.replace("[[rows]]", 'include = ["small"]\n\n[[rows]]', 1), "other")
    assert [row.key for row in select_rows(load_suite(tmp_path, "other"))] == [("small", "plain"), ("small", "sar")]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            'suite = "small"\nlabel = "All',
            'suite = "smal"\nlabel = "All',
            11,
            "unknown suite 'smal'; did you mean small?",
        ),
        ('name = "sar"', 'name = "srr"', 11, "unknown row 'srr' in suite 'small'; did you mean sar?"),
        ('suite = "small"\nlabel = "All', 'suite = "other"\nlabel = "All', 11, "suite 'other' is this one"),
        (
            '"All of it"\n',
            '"All of it"\nconfig = "plain.py"\n',
            13,
            "config stands in suite 'small' for this row; leave",
        ),
        ('"All of it"\n', '"All of it"\nset.a = 1\n', 13, "set stands in suite 'small'"),
        ('name = "sar"', 'name = "plain"', 10, "stands twice"),
        ('name = "sar"', 'name = "then"', 11, "starts from small/sar, which must stand above in this suite"),
    ],
)
def test_a_row_of_another_suite_that_is_not_there(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    write_suite(tmp_path, HEAD + ROWS + '\n[[rows]]\nname = "then"\nlabel = "Then"\nafter = "sar"\n')
    assert old in OTHER
    path = write_suite(tmp_path, OTHER.replace(old, new), "other")
    with pytest.raises(InputError) as caught:
        load_suite(tmp_path, "other")
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_suites_that_take_rows_of_each_other(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + '[[rows]]\nname = "x"\nlabel = "X"\nsuite = "b"\n', "a")
    path = write_suite(tmp_path, HEAD + '[[rows]]\nname = "x"\nlabel = "X"\nsuite = "a"\n', "b")
    with pytest.raises(InputError, match=r"suite 'b' is this one, or takes rows of it itself") as caught:
        load_suite(tmp_path, "b")
    assert str(caught.value).startswith(f"{path}:6: ")
