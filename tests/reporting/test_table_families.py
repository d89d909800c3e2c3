"""Rows that are compared with the same runs have a further column: differences adjusted together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import make_record, write_run

from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import Suite

from .table_suites import SMALL, cells, make_suite


class TestFamilies:
    """All rows that are compared with the same runs, and no others, are adjusted together."""

    ROW = '[[rows]]\nname = "{0}"\nlabel = "{0}"\nbaseline = "resnet18"\noptional = {1}\n'

    def suite(self, tmp_path: Path) -> Suite:
        text = SMALL + self.ROW.format("car", "false") + self.ROW.format("center", "true")
        return make_suite(tmp_path, "cifar100", text)

    def write(self, tmp_path: Path, name: str, gains: tuple[float, ...], **changes: object) -> None:
        for seed, gain in enumerate(gains):
            write_run(tmp_path, make_record("cifar100", name, seed, 78.0 + seed + gain, **changes), f"{gains}-{seed}")

    def test_one_row_alone_has_no_further_column(self, tmp_path: Path) -> None:
        self.write(tmp_path, "resnet18", (0.0, 0.0, 0.0))
        self.write(tmp_path, "resnet18_sar", (1.0, 2.0, 3.0))
        self.write(tmp_path, "car", (1.0,))
        tables = suite_tables(self.suite(tmp_path), tmp_path)
        assert "Holm" not in tables.to_markdown()
        line = tables.frame.set_index("row").loc["resnet18_sar"]
        assert line["p"] == pytest.approx(1 - (12 / 14) ** 0.5)
        assert pd.isna(line["p_holm"])

    def test_optional_rows_belong_to_the_family_and_those_of_another_recipe_to_their_own(self, tmp_path: Path) -> None:
        self.write(tmp_path, "resnet18", (0.0, 0.0, 0.0))
        for name, gains in (("resnet18_sar", (1.0, 2.0, 3.0)), ("car", (-1.0, 0.0, 1.0)), ("center", (-2.0, 0.0, 2.0))):
            self.write(tmp_path, name, gains)
        for name, gains in (("resnet18", (0.1, 0.0, 0.0)), ("resnet18_sar", (0.0, 0.0, 0.3)), ("car", (0.0, 0.5, 0.0))):
            self.write(tmp_path, name, gains, epochs=2)
        tables = suite_tables(self.suite(tmp_path), tmp_path)
        # p = 0.0742 times 3; t with 2 degrees of freedom at 1 - 0.05/6 is 7.6488, over sqrt 3: 4.4160.
        main = {line[0]: line[-1] for line in cells(tables)}
        assert main["ResNet-18"] == "–"
        assert main["ResNet-18+SAR"] == "0.223 [-2.42, +6.42]"
        assert main["car"] == "1.000 [-4.42, +4.42]"
        assert cells(tables, 1)[-1][-1] == "1.000 [-8.83, +8.83]"
        assert list(tables.tables[0].frame.columns)[-1] == "Holm p [simultaneous 95 %]"
        assert sum("Holm 1979" in note and "(here 2 or 3;" in note for note in tables.tables[0].notes) == 1
        assert list(tables.frame["family"].dropna()) == [3, 2, 3, 2, 3]
