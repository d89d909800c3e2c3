"""The folder of a run has one owner, and one process at a time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from sar_cls.runs import folder
from sar_cls.runs.folder import ERROR_LOG, FILES

PACKAGE = Path(folder.__file__).resolve().parents[1]


def test_no_other_module_knows_the_names_of_its_files() -> None:
    names = {*FILES, ERROR_LOG}
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in PACKAGE.glob("**/*.py")
        if file.relative_to(PACKAGE)
        not in (Path("runs/folder.py"), Path("data/memmap_cache.py"))  # its lock is of a cache
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert found == []


def test_lock(tmp_path: Path) -> None:
    assert not folder.is_locked(tmp_path)
    code = (
        f"from pathlib import Path; from sar_cls.runs import folder; print(folder.is_locked(Path({str(tmp_path)!r})))"
    )
    with folder.lock(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert not folder.is_locked(tmp_path)


def test_error_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = tmp_path / "run"
    assert folder.write_error_log(run_dir, "what went wrong") == f"all of it in {run_dir / ERROR_LOG}"
    assert (run_dir / ERROR_LOG).read_text() == "what went wrong"
    folder.remove_error_log(run_dir)
    folder.remove_error_log(run_dir)  # twice is once
    assert not (run_dir / ERROR_LOG).exists()
    (tmp_path / "file").write_text("")
    assert folder.write_error_log(tmp_path / "file", "text").startswith(f"no {ERROR_LOG} could be written")
