"""How a script ends, and what it sets before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sar_cls import cli
from sar_cls.errors import InputError, RunLocked


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunLocked("another process is at it"), 3), (InputError("wrong"), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise error

    with pytest.raises(SystemExit) as end:
        cli.main_with_exit_code(main)
    assert end.value.code == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
        ({"KMP_BLOCKTIME": "9"}, {"KMP_BLOCKTIME": "9"}),
    ],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(given: dict[str, str], expected: dict[str, str]) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    code = f"""
import os, sys
from sar_cls import cli
def main():
    print({{name: os.environ[name] for name in {names} if name in os.environ}}, "torch" in sys.modules)
    return 0
cli.main_with_exit_code(main)
"""
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == f"{expected} False"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "sar-cls: unknown command 'nonsense': choose one of run, report"),
        (["run", "--suite", "nonsense"], "sar-cls run: unknown suite 'nonsense'; known are "),
        (["stage1", "--seed", "-1"], "sar-cls stage1: argument --seed: '-1' must be"),
        (["report", "--work-dir", "nowhere"], "sar-cls report: --work-dir nowhere is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_messages_name_the_command_also_of_the_module(arguments: list[str], says: str) -> None:
    done = subprocess.run([sys.executable, "-m", "sar_cls", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == 1
