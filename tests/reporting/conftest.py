"""The two small suites, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.suites.rows import Suite

from .table_suites import SMALL, TWO_STAGES, make_suite


@pytest.fixture
def small(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100", SMALL)


@pytest.fixture
def two_stages(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "cifar100_lt", TWO_STAGES)
