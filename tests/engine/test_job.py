"""A job says which run is asked for, and nothing about it has been read."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sar_cls.engine.job import Job
from sar_cls.suites.rows import Source


def test_it_goes_to_other_processes_as_it_is_and_does_not_change(tmp_path: Path) -> None:
    source = Source(tmp_path / "none.py", {"model": {"head": {"regularizer": {"type": "SAR"}}}}, "suite.toml:3", "s/r")
    job = Job("s", "r", source, 1024, tmp_path / "run", tmp_path / "first", "title")
    assert pickle.loads(pickle.dumps(job)) == job
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.seed = 1  # type: ignore[misc]
    assert list(tmp_path.iterdir()) == []


def test_it_needs_no_engine() -> None:
    code = "import sys, sar_cls.engine.job; print([m for m in ('mmengine', 'mmpretrain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
