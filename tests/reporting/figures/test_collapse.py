"""Neural collapse over shot groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sar_cls.reporting.figures import collapse
from sar_cls.reporting.figures.series import NothingToDraw, Series

from .conftest import COUNTS
from .entries import add_features, entry


def test_a_dot_a_run_and_a_bar_a_mean(work_dir: Path) -> None:
    add_features(work_dir, "mixup", "mixup_sar")
    rows = [entry(work_dir, "mixup"), entry(work_dir, "mixup_sar")]
    data = collapse.prepare(rows)
    assert data.groups == ("all", "many_shot", "medium_shot")  # no class of the fixture has fewer than 20 images
    assert len(data.panels) == 4
    expected = rows[0].geometries[1]["train"]["many_shot"]["nc1"]
    assert data.panels[0].values[0, 1, 1] == expected
    figure = collapse.draw(data)
    for axis, panel in zip(figure.axes, data.panels, strict=True):
        dots = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "None"]
        assert len(dots) == 6  # two rows in three groups
        np.testing.assert_allclose([line.get_ydata() for line in dots], panel.values.reshape(6, 2))
        bars = [line for line in axis.lines if line.get_solid_capstyle() == "butt" and line.get_linestyle() == "-"]
        levels = [line.get_ydata()[0] for line in bars if line.get_linewidth() == 1.3]
        np.testing.assert_allclose(levels, panel.values.mean(axis=2).reshape(6))
    assert collapse.caption(data, rows).endswith("mixup and mixup_sar: 2 runs each; seeds 1, 2.")


def test_what_cannot_be_computed_is_left_out_with_its_reason(work_dir: Path) -> None:
    one = entry(work_dir, "mixup", runs=1)
    known = {"nc1": 0.5, "nc2_simplex": "a single class has no angle", "nc3": "no linear classifier"}
    record = one.records[0] | {
        "extra": {"geometry": {"format": 1, "train": {"all": known}, "test": {"all": {"nc4": 3.0}}}}
    }
    data = collapse.prepare([Series("a", one.run_dirs, tuple(COUNTS), records=(record,))])
    assert [panel.title for panel in data.panels] == ["NC1, within classes", "NC4, off nearest mean (%)"]
    assert "NC3, off the weights: no linear classifier" in collapse.caption(data, [one])
    collapse.draw(data)
    for name in known:
        known[name] = "no image"
    record["extra"]["geometry"]["test"] = {"all": {}}
    with pytest.raises(NothingToDraw, match="no image"):
        collapse.prepare([Series("a", one.run_dirs, tuple(COUNTS), records=(record,))])
