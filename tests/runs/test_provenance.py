"""Provenance: commit, versions, machine; and nothing private."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sar_cls.runs import provenance

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *arguments: str) -> None:
    identity = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, env={**os.environ, **identity}
    )


@needs_git
def test_commit_and_dirty_flag_of_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "sar_cls").mkdir()
    (tmp_path / "sar_cls" / "__init__.py").write_text("", encoding="utf-8")
    git(tmp_path, "init", "-q")
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}
    git(tmp_path, "add", "-A")
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}  # no commit yet
    git(tmp_path, "commit", "-q", "-m", "first")
    clean = provenance.git_state(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "notes.txt").write_text("not code", encoding="utf-8")
    assert provenance.git_state(tmp_path) == clean
    (tmp_path / "sar_cls" / "new.py").write_text("x = 1", encoding="utf-8")
    assert provenance.git_state(tmp_path) == {**clean, "dirty": True}


@needs_git
def test_a_foreign_repository_round_the_package_says_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "other.txt").write_text("x", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "theirs")
    (tmp_path / "sar_cls").mkdir()
    (tmp_path / "sar_cls" / "__init__.py").write_text("", encoding="utf-8")
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}


def test_no_git_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}


def test_collect_has_versions_and_machine_but_no_host_and_no_folder() -> None:
    found = provenance.collect("NVIDIA H200")
    assert found["versions"]["torch"]
    assert found["versions"]["python"] == platform.python_version()
    assert found["machine"]["accelerator"] == "NVIDIA H200"
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    text = json.dumps(found)
    assert str(Path(__file__).resolve().parents[2]) not in text
    assert not platform.node() or platform.node() not in text


@pytest.mark.parametrize("build", ["2.13.0+cu130", "2.13.0+cpu", "2.13.0"])
def test_the_build_of_an_imported_torch_is_named(monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    """PyPI's CUDA build is the package 2.13.0, and calls itself 2.13.0+cu130 once it is imported."""
    monkeypatch.setattr(provenance.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__=build))
    assert provenance.versions()["torch"] == build
    monkeypatch.delitem(sys.modules, "torch")
    assert provenance.versions()["torch"] == "2.13.0"


def test_an_installed_fork_is_named_and_a_missing_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes the folder ``mmengine`` as well: a record that says "mmengine: None" alone would not say what ran."""
    installed = {"onedl-mmengine": "0.10.12", "onedl-mmcv": "2.3.6", "torch": "2.13.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise provenance.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(provenance.metadata, "version", version)
    found = provenance.versions()
    assert found["onedl-mmengine"] == "0.10.12"
    assert found["onedl-mmcv"] == "2.3.6"
    assert found["mmengine"] is None
    assert "onedl-mmpretrain" not in found


def test_instructions_are_not_known_before_torch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert provenance.machine()["cpu_capability"] is None
