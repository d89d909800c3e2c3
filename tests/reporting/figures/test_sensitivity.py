"""Grids over a setting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_runs import make_record

from sar_cls.reporting.comparison import compare
from sar_cls.reporting.figures import differences, sensitivity
from sar_cls.reporting.figures.series import NothingToDraw
from sar_cls.reporting.figures.sets import row_styles
from sar_cls.suites.rows import Suite, load_suite

SUITE = """
title = "Sensitivity"
metric = "top1"
paper_dataset = "CIFAR-100"

[[rows]]
name = "net"
label = "Net"
paper = "ResNet-18"

[[rows]]
name = "sar"
label = "SAR"
config = "net.py"
baseline = "net"
also_in = ["Threshold"]
paper = "ResNet-18+SAR"
set.model.head.regularizer = { type = "SAR" }

[[rows]]
name = "sar_tau_{tau}"
like = "sar"
label = "SAR, τ = {tau}"
baseline = "net"
group = "Threshold"
grid.tau = [1.0, 0.5]
set.model.head.regularizer.tau = "{tau}"

[[rows]]
name = "sar_lr_{lr}"
like = "sar"
label = "SAR, learning rate {lr}"
baseline = "net"
grid.lr = [0.1, 0.2]
set.optim_wrapper.optimizer.lr = "{lr}"

[[rows]]
name = "both_{tau}_{delta}"
like = "sar"
label = "both"
baseline = "net"
grid.tau = [0.5, 0.7]
grid.delta = [0.5, 0.7]
set.model.head.regularizer = { tau = "{tau}", delta = "{delta}" }
"""


def written(tmp_path: Path, text: str) -> Suite:
    folder = tmp_path / "configs" / "s"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    (folder / "net.py").touch()
    return load_suite(tmp_path / "configs", "s")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return written(tmp_path, SUITE)


def runs(gains: dict[str, float]) -> list[dict[str, Any]]:
    found = []
    for row, gain in gains.items():
        for seed in (1, 2):
            one = make_record("s", row, seed, 70.0 + gain + 0.1 * seed * bool(gain))
            found.append({"overrides": {}, "stage1": None, "run_id": f"{row}{seed}", "stage": 1} | one)
    return found


GAINS = {"net": 0.0, "sar": 1.0, "sar_tau_1": 2.0, "sar_tau_0_5": -1.0, "both_0_5_0_7": 3.0}


def test_values_rise_and_the_varied_row_stands_among_them(suite: Suite) -> None:
    lines, styles = compare(suite, runs(GAINS), lambda _: None), row_styles(suite)
    data = sensitivity.prepare(suite, lines, styles)
    (sweep,) = data.sweeps  # of the learning rates nothing was run
    assert sweep.title == "Threshold, τ"
    assert sweep.values == (0.5, 0.9, 1.0)  # 0.9 is the default of SAR
    np.testing.assert_allclose([point.mean for point in sweep.points], [-0.85, 1.15, 2.15])
    assert sweep.default == 1
    np.testing.assert_allclose(sweep.points[1].paper, (0.71, 0.71))
    (axis,) = sensitivity.draw(data).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.5", "0.9", "1"]
    dots = [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [-0.85, 1.15, 2.15])
    assert [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "D"] == [pytest.approx(0.71)]
    thin = [tuple(line.get_ydata()) for line in axis.lines if line.get_linewidth() == differences.JOINT]
    assert thin == [point.joint for point in sweep.points]
    text = sensitivity.caption(data, suite)
    assert "to Net, in points" in text
    assert "Bold: the value of the row that the others vary." in text


def test_a_grid_over_two_settings_is_drawn_among_the_rows(suite: Suite) -> None:
    sweeps = sensitivity.sweeps_of(suite)
    assert [path for path, _ in sweeps.values()] == ["model.head.regularizer.tau", "optim_wrapper.optimizer.lr"]
    lines, styles = compare(suite, runs(GAINS), lambda _: None), row_styles(suite)
    without = [row.name for _, rows in sweeps.values() for row in rows]
    points = differences.prepare(suite, lines, styles, without).points
    assert [point.label for point in points] == ["SAR", "both"]


def test_settings_of_one_value_are_one_setting(tmp_path: Path) -> None:
    grids = """
[[rows]]
name = "width_{width}"
like = "sar"
label = "SAR, {width} dimensions"
baseline = "net"
grid.width = [64, 8]
set.model.backbone.projection = "{width}"
set.model.head.in_channels = "{width}"

[[rows]]
name = "unlike_{width}_{depth}"
like = "sar"
label = "SAR, {width} and {depth}"
baseline = "net"
grid.width = [2, 4]
grid.depth = [2]
set.model.backbone.projection = "{width}"
set.model.backbone.depth = "{depth}"
set.model.head.channels = "{width}"

[[rows]]
name = "crossed_{width}_{depth}"
like = "sar"
label = "SAR, {width} and {depth}"
baseline = "net"
grid.width = [2, 4]
grid.depth = [2, 4]
set.model.backbone.projection = "{width}"
set.model.backbone.depth = "{depth}"
"""
    suite = written(tmp_path, SUITE + grids)
    sweeps = {family: path for (family, _), (path, _) in sensitivity.sweeps_of(suite).items()}
    assert sweeps["width_{width}"] == "model.backbone.projection"
    assert sweeps["unlike_{width}_{depth}"] == "model.backbone.projection"  # the depth is the same in both
    assert "crossed_{width}_{depth}" not in sweeps
    lines = compare(suite, runs({"net": 0.0, "width_8": 3.0, "width_64": 1.0}), lambda _: None)
    (sweep,) = sensitivity.prepare(suite, lines, row_styles(suite)).sweeps
    assert sweep.values == (8.0, 64.0)


def test_a_row_that_says_nothing_has_the_value_of_its_config(suite: Suite) -> None:
    net = suite.row("net")
    net.source.config.write_text("optim_wrapper = dict(optimizer=dict(lr=0.3), steps=[1])", encoding="utf-8")
    assert sensitivity._value(net, "optim_wrapper.optimizer.lr") == 0.3
    assert sensitivity._value(suite.row("sar_lr_0_2"), "optim_wrapper.optimizer.lr") == 0.2
    for path in ("optim_wrapper.optimizer.lr.more", "optim_wrapper.steps", "optim_wrapper.optimizer.momentum"):
        assert math.isnan(sensitivity._value(net, path))
    net.source.config.write_text("what is this", encoding="utf-8")
    assert math.isnan(sensitivity._value(net, "optim_wrapper.optimizer.lr"))


def test_a_value_that_is_not_known_is_the_default(suite: Suite) -> None:
    assert math.isnan(sensitivity._value(suite.row("sar"), "optim_wrapper.optimizer.lr"))
    assert sensitivity._value(suite.row("sar"), "model.head.regularizer.delta") == 0.8
    assert sensitivity._value(suite.row("net"), "custom_keys.embedding.lr_mult") == 1.0


def test_no_grid_was_run(suite: Suite) -> None:
    lines = compare(suite, runs({"net": 0.0, "sar": 1.0}), lambda _: None)
    with pytest.raises(NothingToDraw, match="no grid over one setting"):
        sensitivity.prepare(suite, lines, row_styles(suite))
