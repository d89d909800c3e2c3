"""Small suites, read, and a run in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import write_run

from sar_cls.suites.rows import Suite

from .table_suites import PAIRS, SMALL, TWO_STAGES, make_suite


@pytest.fixture
def small(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100", SMALL)


@pytest.fixture
def two_stages(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100_lt", TWO_STAGES)


@pytest.fixture
def pairs(tmp_path: Path) -> Suite:
    """One row and its second stage."""
    return make_suite(tmp_path, "lt", PAIRS)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a record to a folder that no other has, and gives it back as it was written."""
    numbers = iter(range(100))
    return lambda record: write_run(tmp_path / "work", record, f"run{next(numbers)}")
