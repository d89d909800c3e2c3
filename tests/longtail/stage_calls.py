"""Calls of the scripts ``longtail/stage1.py`` and ``longtail/stage2.py``: what they print, what they leave, what they refuse."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sar_cls import cli

SHORT = ("--seed", "7", "--epochs", "1", "--device", "cpu")
NUMBER = r"\d+\.\d\d"
LINE = rf"top-1 {NUMBER} %, many (?:{NUMBER}|no class), medium {NUMBER}, few {NUMBER}, ECE {NUMBER} %"


class Result(NamedTuple):
    """What a call of a script left: its exit code and what it printed, the progress of decoding images aside."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr without remarks about a run."""
        remarks = re.compile(r".*( training images used|every epoch is one step$|SAR's gate was closed)")
        return [line for line in self.err.splitlines() if not remarks.match(line)]


def call(script: str, *arguments: object) -> Result:
    """Calls a script in this process."""
    out, err = io.StringIO(), io.StringIO()
    path = cli.ROOT / "longtail" / f"{script}.py"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name="__main__")
    errors = [line for line in err.getvalue().splitlines(keepends=True) if not line.startswith("decoding ")]
    return Result(int(end.value.code or 0), out.getvalue(), "".join(errors))


def refused(work_dir: Path, script: str, *arguments: object, says: str) -> None:
    """Exit code 2, one line that says what was wrong, and nothing is written or lost below ``work_dir``."""
    before = content(work_dir)
    result = call(script, *arguments)
    assert result.code == 2, result
    assert len(result.errors) == 1, result.err
    assert result.errors[0].startswith(f"{script}.py: ")
    assert re.search(says, result.errors[0]), result.err
    assert content(work_dir) == before


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run_dir(result: Result) -> Path:
    """The run that a script names in its last line."""
    assert (result.code, result.errors) == (0, []), result
    return Path(result.out.splitlines()[-1].split(": ", 1)[1]).parent


def pictures(
    root: Path, classes: int = 3, train: int = 12, test: int = 4, seed: int = 0, *, mixed: bool = False
) -> Path:
    """An image folder of noise: ``root/train/<class>/*.png`` and ``root/test/<class>/*.png``, 8x8 pixels or, ``mixed``, more."""
    rng = np.random.default_rng(seed)
    for split, number in (("train", train), ("test", test)):
        for name in ("ant", "bee", "cat")[:classes]:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                more = index % 3 if mixed else 0
                pixels = rng.integers(0, 256, (8 + more, 8 + 2 * more, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return root
