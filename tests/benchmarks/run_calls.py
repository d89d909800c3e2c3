"""Calls of ``benchmarks/run.py``: what they print, and what they refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sar_cls import cli

SCRIPT = cli.ROOT / "benchmarks" / "run.py"


def with_own_sar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """A copy of the configs in which the last row of the digits runs a config of its own, ``sar.py``."""
    configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
    monkeypatch.setattr(cli, "CONFIGS", configs)
    suite = configs / "digits" / "suite.toml"
    head, row = suite.read_text(encoding="utf-8").split('name = "sar"\n')
    kept = [line for line in row.splitlines() if not line.startswith(("config", "set."))]
    suite.write_text("\n".join([f'{head}name = "sar"', *kept, ""]), encoding="utf-8")
    (configs / "digits" / "sar.py").write_text(text)
    return configs


class Result(NamedTuple):
    """What a call of the script left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one line that says what was wrong."""
    assert result.code == 2
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("run.py: ")
    assert "Traceback" not in result.out + result.err
    for word in words:
        assert word in result.err
