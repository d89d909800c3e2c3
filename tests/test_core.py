"""The library without the benchmark: torch and numpy are all that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (ROOT / "tests" / "core_program.py").read_text(encoding="utf-8")


def with_what_they_need(names: list[str]) -> set[str]:
    """Packages and all that they require, extras and other systems aside."""
    found: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # a requirement of another system
            continue
        found.add(name)
        names += [re.split(r"[^\w.-]", entry)[0] for entry in required if "extra ==" not in entry]
    return found


def test_the_library_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    """In a process that sees the standard library, torch, numpy and what those two need, and nothing else."""
    for name in with_what_they_need(["torch", "numpy"]):
        for file in metadata.files(name) or []:
            top = file.parts[0]
            place = Path(str(metadata.distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and place.exists() and not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(place)
    (tmp_path / "sar_cls").symlink_to(ROOT / "sar_cls")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nexec({PROGRAM!r})"
    done = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['loss_anchor', 'loss_aux']"


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_no_more_is_required(name: str) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert required is not None
    names = re.findall(r'"([a-z-]+)', required.group(1))
    assert name in names
    assert len(names) == 2
