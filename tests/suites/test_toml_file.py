"""Files of suites: whatever is wrong with one is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.engine.config import row_config
from sar_cls.errors import InputError
from sar_cls.suites.places import SUITE_FILE
from sar_cls.suites.rows import load_suite
from sar_cls.suites.toml_file import read_suite_file, unknown

from .small_suite import HEAD, ROWS, write_suite


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD + "rows = [\n", 3, "not valid TOML"),
        (HEAD + "x y\n" + ROWS, 3, "not valid TOML"),
        (HEAD + 'colour = "red"\n' + ROWS, 3, "unknown key 'colour'"),
        ('title = "A suite"\nmeasure = "costs"\n' + ROWS, 2, "unknown measure 'costs'; did you mean cost"),
        (HEAD + 'measure = "cost"\n' + ROWS, 2, "measured, not trained; remove metric"),
        ('title = "A suite"\nmeasure = "cost"\n' + ROWS + 'after = "plain"\n', 11, "has no second stage; remove after"),
        (HEAD + 'paper_task = "segmentation"\n' + ROWS, 3, "needs paper_dataset beside it"),
        (HEAD + 'paper_dataset = "Cityscapes"\npaper_task = " "\n' + ROWS, 4, "must say of which task"),
        (HEAD + 'papr_table = "8"\n' + ROWS, 3, "did you mean paper_table"),
        ('title = "A suite"\n' + ROWS, 1, "the key 'metric' is missing"),
        ('title = 7\nmetric = "top1"\n' + ROWS, 1, "title must be a string"),
        (HEAD + "imbalance = true\n" + ROWS, 3, "imbalance must be a whole number"),
        (HEAD + "extra_metrics = [1]\n" + ROWS, 3, "array of strings"),
        (HEAD + "rows = []\n", 3, "has no rows"),
        (HEAD + ROWS + "optional = 1\n", 11, "optional must be true or false"),
        (HEAD + ROWS + 'lable = "x"\n', 11, "did you mean label"),
        (HEAD + ROWS + '\n[[rows]]\nlabel = "No name"\n', 12, "the key 'name' is missing"),
        (HEAD + ROWS + '\n[[rows]]\nname = "sar"\nlabel = "Twice"\n', 13, "stands twice"),
        (HEAD + ROWS + '\n[[rows]]\nname = "S A R"\nlabel = "x"\n', 13, "only small letters"),
        (HEAD + ROWS.replace('baseline = "plain"', 'baseline = "sar"'), 10, "must be another row"),
        (HEAD + ROWS.replace('baseline = "plain"', 'baseline = "nobody"'), 10, "must be another row"),
        (
            HEAD + ROWS.replace("baseline", "after").replace('"plain"\nlabel = "P', '"plane"\nlabel = "P'),
            10,
            "must name a",
        ),
        (HEAD + ROWS + "also_in = [1]\n", 11, "also_in must be an array of strings"),
        (HEAD + ROWS + 'also_in = ["Nets"]\n', 11, "no row has that group"),
        (HEAD + 'include = ["small"]\n' + ROWS, 3, "includes itself"),
        (HEAD + 'include = ["digit"]\n' + ROWS, 3, "unknown suite 'digit'"),
        (
            HEAD + ROWS.replace('label = "P', 'baseline = "sar"\nlabel = "P'),
            5,
            "'sar' is compared with 'plain' in its turn; leave one out",
        ),
        (HEAD + ROWS + '\n[[rows]]\nname = "none"\nlabel = " "\n', 14, "the label is empty"),
    ],
)
def test_bad_suite_files_are_named_with_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write_suite(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_suite(tmp_path, "small")
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = write_suite(tmp_path, HEAD)
    path.write_bytes(HEAD.encode() + b"\xff\xfe")
    with pytest.raises(InputError, match=r"suite.toml:3: not UTF-8"):
        load_suite(tmp_path, "small")


def test_a_config_that_is_not_there_is_named_with_the_line_of_its_row(tmp_path: Path) -> None:
    path = write_suite(tmp_path, HEAD + ROWS + 'config = "../digits/none.py"\n')
    missing = load_suite(tmp_path, "small").row("sar").source
    with pytest.raises(InputError) as caught:
        row_config(missing)
    assert str(caught.value).startswith(f"{path}:7: the row runs ")
    assert "none.py, and there is no such file: check its name" in str(caught.value)


def test_places_of_keys(tmp_path: Path) -> None:
    file = read_suite_file(write_suite(tmp_path, HEAD + ROWS))
    assert file.where("metric") == f"{tmp_path / 'small' / SUITE_FILE}:2"
    assert [file.where("label", row).rpartition(":")[2] for row in (0, 1)] == ["5", "9"]
    assert file.where(None, 1).endswith(":7")
    assert file.where("baseline", 0).endswith(":3")  # not there: the row's first line


def test_near_names() -> None:
    assert unknown("row", "sarr", ["sar", "car", "x"]) == "unknown row 'sarr'; did you mean sar or car?"
    assert unknown("row", "zzz", ["sar", "x"], " in suite 's'") == "unknown row 'zzz' in suite 's'; known are sar, x."
