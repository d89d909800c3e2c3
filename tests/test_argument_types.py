"""Numbers of a command line: within their bounds, or one line that says what a good one is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sar_cls import argument_types, bounds


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (argument_types.positive_int, {"1": 1, "12": 12}, ["0", "-1", "1.5", "one", ""]),
        (argument_types.virtual_batch, {"2": 2}, ["1"]),
        (
            argument_types.epochs,
            {"1": 1, str(bounds.MOST_EPOCHS): bounds.MOST_EPOCHS},
            ["0", str(bounds.MOST_EPOCHS + 1)],
        ),
        (argument_types.seed, {"0": 0, str(bounds.SEEDS - 1): bounds.SEEDS - 1}, ["-1", str(bounds.SEEDS)]),
        (argument_types.fraction, {"0.5": 0.5}, ["0", "1", "nan"]),
        (argument_types.imbalance, {"1": 1.0, "100": 100.0, "none": "none"}, ["0.5", "inf", "nan"]),
        (argument_types.path, {"a/b": Path("a/b"), ".": Path()}, []),
        (argument_types.path_text, {"a/b": "a/b", "timm:resnet18": "timm:resnet18"}, []),
        (argument_types.pair, {"a=b": ("a", "b"), "a=b=c": ("a", "b=c")}, ["a", "=b", "a="]),
    ],
)
def test_what_is_taken(read: Callable[[str], Any], good: dict[str, Any], bad: list[str]) -> None:
    assert {text: read(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"^{re.escape(repr(text))} must be"):
            read(text)


def test_an_empty_path_is_not_the_current_folder() -> None:
    for read in (argument_types.path, argument_types.path_text):
        with pytest.raises(argparse.ArgumentTypeError, match=r"^the path is empty: name one"):
            read("")


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argument_types.Parser(prog="program")
    parser.add_argument("--seed", type=argument_types.seed)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--seed", "-3"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("program: argument --seed: '-3' must be a whole number from 0 to ")
    assert line.endswith("(see --help)")
