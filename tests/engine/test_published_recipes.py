"""The recipe of a row that results were published with never changes unnoticed: a finished run of it would be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.config import recipe_hash, row_config
from sar_cls.suites.rows import load_suite

# To be extended by new rows; an entry changes only together with a line in CHANGELOG.md.
PUBLISHED: dict[str, str] = json.loads(Path(__file__).with_name("published_recipes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_recipe_hash(name: str) -> None:
    suite, row = name.split("/")
    assert recipe_hash(row_config(load_suite(CONFIGS, suite).row(row).source)) == PUBLISHED[name]
