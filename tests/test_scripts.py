"""The scripts of a clone, called by a Python in which neither the project nor anything else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*sorted(ROOT.glob("benchmarks/*.py")), *sorted(ROOT.glob("longtail/*.py"))]


def bare(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # -S: no installed packages, -E: no PYTHONPATH
    command = [sys.executable, "-S", "-E", script, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_needs_nothing(script: Path, tmp_path: Path) -> None:
    done = bare(script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.name}")


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    done = bare(ROOT / "benchmarks" / "run.py", "--suite", "digits", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "is not installed: pip install 'sar-cls[bench]'" in done.stderr
