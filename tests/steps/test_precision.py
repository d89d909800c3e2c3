"""Which precision a run has, and that its folder says so."""

from __future__ import annotations

from pathlib import Path

from sar_cls.cli import CONFIGS
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve, run_name
from sar_cls.steps.precision import precision_of
from sar_cls.suites.rows import Source

ROW = Source(CONFIGS / "cifar100_lt" / "ce.py")
ASKED = (None, "fp32", "bf16")


def test_command_line_before_config_before_default(tmp_path: Path) -> None:
    own = tmp_path / "row.py"
    own.write_text(f'_base_ = "{ROW.config}"\noptim_wrapper = dict(precision="bf16")\n', encoding="utf-8")
    found = {
        source.config.stem: [precision_of(resolve(source, Options(precision=asked)).config) for asked in ASKED]
        for source in (ROW, Source(own))
    }
    assert found == {"ce": ["fp32", "fp32", "bf16"], "row": ["bf16", "fp32", "bf16"]}


def test_a_run_lies_in_the_same_folder_whether_its_precision_was_named_or_not() -> None:
    options = [Options(precision=asked) for asked in ASKED]
    assert [run_name(3, given, resolve(ROW, given)) for given in options] == ["seed3", "seed3", "seed3-bf16"]


def test_the_recipe_is_the_same_in_any_precision() -> None:
    assert len({resolve(ROW, Options(precision=asked)).recipe for asked in ASKED}) == 1
