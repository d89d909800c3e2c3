"""Code of one's own that a row names: imported where its config is read, known by name, and said where it is not found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sar_cls import REGULARIZERS
from sar_cls.cli import CONFIGS
from sar_cls.engine.config import row_config
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.errors import InputError
from sar_cls.mm.head import build_regularizer
from sar_cls.suites.rows import Source, load_suite

MODULE = """
import sar_cls


class FeatureNorm(sar_cls.Regularizer):
    def losses(self, features, targets, classifier):
        return {"loss_norm": 1e-3 * targets.mean(features.square().sum(dim=1))}


sar_cls.REGULARIZERS["FeatureNorm"] = FeatureNorm
"""
SUITE = """
title = "Mine"
metric = "top1"

[[rows]]
name = "norm"
label = "Norm"
config = "digits/baseline.py"
set.custom_imports = { imports = ["my_regularizers"] }
set.model.head.regularizer = { type = "FeatureNorm" }
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of suites with one that runs a regularizer of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_regularizers.py").write_text(MODULE)
    (tmp_path / "tails").mkdir()
    (tmp_path / "tails" / "suite.toml").write_text(SUITE)
    yield tmp_path
    sys.modules.pop("my_regularizers", None)
    REGULARIZERS.pop("FeatureNorm", None)


def test_a_row_names_a_module_of_its_own(mine: Path) -> None:
    (row,) = load_suite(mine, "tails").rows
    config = resolve(row.source, Options()).config
    made = build_regularizer(config.model.head.regularizer.to_dict(), 10, 64)
    assert type(made).__name__ == "FeatureNorm"


def test_without_it_the_sentence_says_how(mine: Path) -> None:
    lines = [line for line in SUITE.splitlines() if "custom_imports" not in line]
    (mine / "tails" / "suite.toml").write_text("\n".join(lines))
    (row,) = load_suite(mine, "tails").rows
    with pytest.raises(
        InputError, match=r"unknown regularizer 'FeatureNorm': .*, or name the module of your own in cust"
    ):
        resolve(row.source, Options())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"imports": ["no_such_module"]},
            r"names is not found here \(.*no_such_module.*\): put its folder on the PYTH",
        ),
        ({"imports": 3}, r"custom_imports is .*: write \{ imports = \[\"MODULE\"\] \}"),
        ({"modules": ["json"]}, r"custom_imports is .*: write \{ imports = \[\"MODULE\"\] \}"),
    ],
)
def test_what_is_not_found_or_no_import_is_one_sentence(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        row_config(Source(CONFIGS / "digits" / "baseline.py", {"custom_imports": given}))
