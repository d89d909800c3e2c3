"""Rows as data: what a row sets, rows like another, and grids."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.suites.listing import describe
from sar_cls.suites.rows import load_suite, select_rows

HEAD = 'title = "Small"\nmetric = "top1"\n\n[[rows]]\nname = "plain"\nlabel = "Plain"\n\n[[rows]]\n'
GRID = HEAD + (
    'name = "sar_{tau}_{gate}"\nlabel = "SAR, tau = {tau}, {gate}"\nlike = "plain"\nbaseline = "plain"\n'
    'grid = { tau = [0.5, 1], gate = ["all", "per_class"] }\n'
    'set.model.head.regularizer = { type = "SAR", tau = "{tau}", gate = "{gate}" }\n'
)


def write(folder: Path, text: str) -> Path:
    path = folder / "small" / "suite.toml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return folder


def test_a_grid_is_a_row_for_each_combination(tmp_path: Path) -> None:
    rows = load_suite(write(tmp_path, GRID), "small").rows[1:]
    assert [row.name for row in rows] == ["sar_0_5_all", "sar_0_5_per_class", "sar_1_all", "sar_1_per_class"]
    assert rows[1].label == "SAR, tau = 0.5, per_class"
    assert {row.source.config.name for row in rows} == {"plain.py"}
    assert {row.baseline for row in rows} == {"plain"}
    settings = [row.source.changes["model"]["head"]["regularizer"] for row in rows]
    assert settings[0] == {"type": "SAR", "tau": 0.5, "gate": "all"}  # a number stays a number
    assert settings[3] == {"type": "SAR", "tau": 1, "gate": "per_class"}


def test_a_placeholder_alone_is_the_value_in_settings_and_text_elsewhere(tmp_path: Path) -> None:
    text = GRID.replace('label = "SAR, tau = {tau}, {gate}"', 'label = "{tau}"\ngroup = "{tau}"\npaper = "{tau}"')
    text = text.replace('baseline = "plain"', 'baseline = "plain"\nalso_in = ["{tau}"]')
    rows = load_suite(write(tmp_path, text), "small").rows[1:]
    assert [(row.label, row.group, row.paper, row.also_in) for row in rows] == [
        *[("0.5", "0.5", "0.5", ("0.5",))] * 2,
        *[("1", "1", "1", ("1",))] * 2,
    ]
    assert [row.source.changes["model"]["head"]["regularizer"]["tau"] for row in rows] == [0.5, 0.5, 1, 1]


def test_a_second_stage_can_follow_each_row_of_a_grid(tmp_path: Path) -> None:
    second = '\n[[rows]]\nname = "sar_{tau}_all_then"\nlabel = "Then"\nafter = "sar_{tau}_all"\nconfig = "then.py"\n'
    text = GRID + second + 'grid.tau = [0.5, 1]\nset.train_cfg.max_epochs = "{tau}"\n'
    suite = load_suite(write(tmp_path, text), "small")
    assert [row.after for row in suite.rows[-2:]] == ["sar_0_5_all", "sar_1_all"]
    assert [row.name for row in select_rows(suite, ["sar_1_*"])][:2] == ["sar_1_all", "sar_1_per_class"]


def test_a_grid_over_rows_is_the_second_stage_of_each(tmp_path: Path) -> None:
    second = '\n[[rows]]\nname = "{first}_then"\nlabel = "Then"\nconfig = "then.py"\nafter = "{first}"\n'
    text = GRID + second + 'grid.first = ["plain", "sar_1_all"]\n'
    rows = load_suite(write(tmp_path, text), "small").rows[-2:]
    assert [(row.name, row.after) for row in rows] == [("plain_then", "plain"), ("sar_1_all_then", "sar_1_all")]
    assert rows[0].source.changes == {}


def test_only_takes_patterns(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GRID), "small")
    assert [row.name for row in select_rows(suite, ["sar_*_all", "small/plain"])] == [
        "plain",
        "sar_0_5_all",
        "sar_1_all",
    ]
    with pytest.raises(InputError, match="unknown row 'sar_2_\\*'"):
        select_rows(suite, ["sar_2_*"])


def test_list_shows_a_grid_in_one_line(tmp_path: Path) -> None:
    lines = describe(load_suite(write(tmp_path, GRID), "small")).splitlines()
    assert len(lines) == 3
    assert lines[2].split()[:5] == ["sar_{tau}_{gate}", "a", "grid", "of", "4:"]
    assert "sar_0_5_per_class" in lines[2]


def test_like_joins_what_both_rows_set(tmp_path: Path) -> None:
    text = HEAD.replace('label = "Plain"\n', 'label = "Plain"\nset.a = { b = 1, c = { d = 2 } }\n')
    text += 'name = "other"\nlabel = "Other"\nlike = "plain"\nset.a.c = { e = 3 }\nset.a.b = 4\n'
    text += '\n[[rows]]\nname = "third"\nlabel = "Third"\nlike = "other"\nset.a.c = { _delete_ = true, f = 5 }\n'
    rows = load_suite(write(tmp_path, text), "small").rows
    assert rows[1].source.changes == {"a": {"b": 4, "c": {"d": 2, "e": 3}}}
    assert rows[2].source.changes == {"a": {"b": 4, "c": {"_delete_": True, "f": 5}}}
    assert rows[0].source.changes == {"a": {"b": 1, "c": {"d": 2}}}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('grid = { tau = [0.5, 1], gate = ["all", "per_class"] }', "grid = {}", 13, "the grid is empty"),
        ("tau = [0.5, 1]", "tau = []", 13, "at least one value"),
        ("tau = [0.5, 1]", "tau = 0.5", 13, "must be an array"),
        ('name = "sar_{tau}_{gate}"', 'name = "sar_{tau}"', 13, "needs {gate}"),
        ('tau = "{tau}", ', "", 13, "no setting takes the values of tau"),
        ('tau = "{tau}"', 'tau = "{tau}", delta = "{dleta}"', 13, "unknown placeholder 'dleta'"),
        ("tau = [0.5, 1]", "tau = [0.5, 0.5]", 9, "stands twice"),
        ('like = "plain"', 'like = "plane"', 11, "must name a row that stands above"),
        ('like = "plain"', 'like = "plain"\nconfig = "x.py"', 11, "stands in place of config"),
    ],
)
def test_bad_rows_are_named_with_their_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GRID
    folder = write(tmp_path, GRID.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_suite(folder, "small")
    assert str(caught.value).startswith(f"{folder / 'small' / 'suite.toml'}:{line}: ")
    assert message in str(caught.value)
