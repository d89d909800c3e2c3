"""First stages that the tests of both scripts start from: trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .stage_calls import SHORT, Result, call, pictures, run_dir


@pytest.fixture(scope="session")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def first(work_dir: Path, one_thread: None) -> Result:
    """A first stage with mixup and SAR on the digits, of one epoch."""
    return call("stage1", "--dataset", "digits", "--method", "sar", *SHORT, "--work-dir", work_dir)


@pytest.fixture(scope="session")
def folder_first(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Path, Path]:
    """An image folder, and a first stage trained on it."""
    root = tmp_path_factory.mktemp("folder")
    data = pictures(root / "images")
    options = ("--dataset", "folder", "--data-root", data, "--imbalance", "3")
    return data, run_dir(call("stage1", *options, *SHORT, "--work-dir", root / "work"))


@pytest.fixture
def copied(first: Result, tmp_path: Path) -> Path:
    """A work directory of its own with a copy of the first stage, to break; the run's folder."""
    source = run_dir(first)
    target = tmp_path / "work" / source.parent.parent.name / source.parent.name / source.name
    return Path(shutil.copytree(source, target))
