"""What the tests of the tables share: two small suites, and the cells of a table."""

from __future__ import annotations

from pathlib import Path

from sar_cls.reporting.tables.suite_tables import SuiteTables
from sar_cls.suites.rows import Suite, load_suite

SMALL = """
title = "CIFAR-100"
paper_table = "8"
paper_dataset = "CIFAR-100"
metric = "top1"

[[rows]]
name = "resnet18"
label = "ResNet-18"
paper = "ResNet-18"

[[rows]]
name = "resnet18_sar"
label = "ResNet-18+SAR"
baseline = "resnet18"
paper = "ResNet-18+SAR"
"""
TWO_STAGES = """
title = "CIFAR-100-LT"
paper_table = "10"
paper_dataset = "CIFAR-100-LT IF={imbalance}"
imbalance = 100
metric = "top1"
extra_metrics = ["many_shot", "ece"]

[[rows]]
name = "mixup"
label = "MixUp"
paper = "MixUp"

[[rows]]
name = "mixup_sar"
label = "MixUp+SAR"
baseline = "mixup"
paper = "MixUp+SAR"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
paper = "MixUp"

[[rows]]
name = "mixup_sar_mislas"
label = "MiSLAS"
after = "mixup_sar"
baseline = "mixup_mislas"
paper = "MixUp+SAR"

[[rows]]
name = "crt"
label = "cRT"
after = "mixup"
baseline = "mixup"
optional = true
"""

PAIRS = """
title = "CIFAR-100-LT"
imbalance = 100
metric = "top1"

[[rows]]
name = "mixup"
label = "MixUp"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
"""
T_3_PAIRS = 4.302652729911275  # Student's t, 2 degrees of freedom, 97.5 %


def make_suite(tmp_path: Path, name: str, text: str) -> Suite:
    folder = tmp_path / "configs" / name
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    return load_suite(tmp_path / "configs", name)


def cells(tables: SuiteTables, table: int = 0) -> list[list[str]]:
    return [list(row) for row in tables.tables[table].frame.itertuples(index=False)]


def refuse(sentence: str) -> None:
    """A warning where there is to be none."""
    raise AssertionError(sentence)
