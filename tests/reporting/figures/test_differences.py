"""Rows against their baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_runs import make_record, second_stage

from sar_cls.cli import CONFIGS
from sar_cls.reporting.comparison import compare
from sar_cls.reporting.figures import differences
from sar_cls.reporting.figures.series import NothingToDraw
from sar_cls.reporting.figures.sets import row_styles
from sar_cls.suites.rows import load_suite


def records(epochs: int = 200, seeds: tuple[int, ...] = (1, 2, 3)) -> list[dict[str, Any]]:
    """Stage 1 of MixUp and SAR, which gains 1, 2, 3 points; and stage 2 of both for the first seed."""
    found = []
    for row, gain in (("mixup", 0), ("mixup_sar", 1)):
        for seed in seeds:
            one = make_record("cifar100_lt", row, seed, 39.0 + gain * seed, epochs=epochs)
            found.append(_filled(one, f"{row}{seed}", 1))
            if seed == 1:
                two = second_stage("cifar100_lt", f"{row}_mislas", 47.0 + gain, found[-1])
                found.append(_filled(two, f"{row}{seed}b", 2))
    return found


def _filled(record: dict[str, Any], run_id: str, stage: int) -> dict[str, Any]:
    """With the fields that writing it fills in."""
    return {
        "overrides": {},
        "stage1": None,
        "run_id": run_id,
        "run": run_id,
        "stage": stage,
        "best_on": "test",
    } | record


def prepared(runs: list[dict[str, Any]]) -> differences.Differences:
    suite = load_suite(CONFIGS, "cifar100_lt")
    return differences.prepare(suite, compare(suite, runs, lambda _: None), row_styles(suite))


def test_points_intervals_and_the_papers_difference() -> None:
    data = prepared(records())
    assert [section.heading for section in data.sections] == ["Stage 1", "Stage 2"]
    one, two = data.points
    half = 4.302652729749464 / np.sqrt(3)  # Student's t with 2 degrees of freedom
    np.testing.assert_allclose([one.mean, one.low, one.high], [2, 2 - half, 2 + half])
    np.testing.assert_allclose([one.paper, two.paper], [(1.1, 1.1), (1.0, 1.0)])
    assert (two.mean, two.low, two.pairs) == (1.0, None, 1)
    figure = differences.draw(data)
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [
        "Stage 1", "MixUp+SAR", "Stage 2", "MixUp+SAR, MiSLAS",
    ]  # fmt: skip
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {"ours, 95 % interval", "ours, one seed", "paper"}
    text = differences.caption(data, load_suite(CONFIGS, "cifar100_lt"))
    assert "paired seeds (1 to 3 pairs)" in text
    assert "Diamonds: the difference between the paper's figures." in text


def test_intervals_of_a_family_are_thin_lines_that_do_not_widen_the_axis() -> None:
    """Beside each row's own interval that at the level 1 - 0.05 / 2, since two rows share the baseline."""
    runs = records()
    for seed in (1, 2, 3):
        runs.append(_filled(make_record("cifar100_lt", "mixup_car", seed, 39.0 - 0.1 * seed), f"car{seed}", 1))
    data = prepared(runs)
    sar, car = (next(p for p in data.points if p.label == f"MixUp+{name}") for name in ("SAR", "CAR"))
    half = 6.205346816570579 / np.sqrt(3)  # Student's t with 2 degrees of freedom, at 0.9875
    np.testing.assert_allclose(sar.joint, (2 - half, 2 + half))
    np.testing.assert_allclose(car.joint, (-0.2 - 0.1 * half, -0.2 + 0.1 * half))
    assert all(point.joint is None for point in data.points if point.pairs == 1)
    figure = differences.draw(data)
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() == differences.JOINT]
    assert {tuple(line.get_xdata()) for line in thin} == {sar.joint, car.joint}
    assert figure.axes[0].get_xlim()[1] < 2 + half
    assert "simultaneous" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Thin lines: simultaneous 95 % intervals" in differences.caption(data, load_suite(CONFIGS, "cifar100_lt"))
    assert all(point.joint is None for point in prepared(records()).points)


def test_a_shortened_recipe_is_said() -> None:
    data = prepared(records(epochs=20))
    text = differences.caption(data, load_suite(CONFIGS, "cifar100_lt"))
    assert "20 of 200 epochs" in text


def test_nothing_to_compare() -> None:
    with pytest.raises(NothingToDraw, match="no row was run with seeds of its baseline"):
        prepared([record for record in records() if record["row"] == "mixup"])


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (0.001, 0.002, 0.004)])
def test_small_differences_look_small(values: tuple[float, ...]) -> None:
    runs = records()
    for record in runs:
        if record["row"] == "mixup_sar":
            record["metrics"]["last"]["top1"] = 39.0 + values[record["seed"] - 1]
    (axis,) = differences.draw(prepared(runs)).axes
    low, high = axis.get_xlim()
    assert high - low >= 2 - 1e-9


def test_readable_labels_within_the_figure() -> None:
    from sar_cls.reporting.figures.style import paper_style

    with paper_style():
        figure = differences.draw(prepared(records()))
        figure.draw_without_rendering()
        (axis,) = figure.axes
        boxes = [label.get_window_extent() for label in (*axis.get_yticklabels(), axis.xaxis.label)]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
