"""Runs that take a second, for the tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.run import DataCache, Job

# A long tail of the digits: a few hundred images of 8x8 pixels.
TINY = f"""
_base_ = "{CONFIGS}/digits_lt/mixup.py"
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
"""
TINY_SAR = TINY + 'model = dict(head=dict(regularizer=dict(type="SAR")))\n'


@pytest.fixture(scope="session")
def cache() -> DataCache:
    """The digits, read once."""
    return DataCache()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Writes a config and returns a job that runs it: ``make_job(text, row="row", seed=1, run_dir=..., stage1_dir=None)``."""

    def make(
        text: str = TINY,
        *,
        row: str = "row",
        seed: int = 1,
        run_dir: Path | None = None,
        stage1_dir: Path | None = None,
    ) -> Job:
        path = tmp_path / "configs" / f"{row}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        folder = run_dir or tmp_path / "work" / "tiny" / row / f"seed{seed}"
        return Job("tiny", row, path, seed, folder, stage1_dir, f"tiny/{row} seed {seed}")

    return make


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, locks aside."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
