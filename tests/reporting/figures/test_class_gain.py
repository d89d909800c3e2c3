"""Gains of classes over the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sar_cls.reporting.figures import class_gain
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.stats import paired_difference

from .entries import entry


def test_dots_are_paired_differences_and_bars_those_of_shot_groups(work_dir: Path) -> None:
    base = entry(work_dir, "mixup", "MixUp")
    one = entry(work_dir, "mixup_sar", "SAR", baseline=base)
    data = class_gain.prepare([base, one])
    expected = np.mean([one.class_accuracies[k] - base.class_accuracies[k] for k in (0, 1)], axis=0)
    (gain,) = data.gains
    np.testing.assert_allclose(gain.classes, expected)
    many = paired_difference(
        *({k: one[k][:8].mean() for k in (0, 1)} for one in (one.class_accuracies, base.class_accuracies))
    )
    assert gain.groups["many_shot"] == many  # 500, 450 ... 150 images
    assert set(gain.groups) == {"many_shot", "medium_shot"}
    (axis,) = class_gain.draw(data).axes
    dots = axis.lines[1]
    np.testing.assert_allclose(dots.get_xdata(), one.train_counts)
    np.testing.assert_allclose(dots.get_ydata(), expected)
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["medium", "many"]
    text = class_gain.caption(data, [base, one])
    assert "over MixUp, in points" in text
    assert "95 % interval" in text


def test_pairs_are_made_by_seed_not_by_place(work_dir: Path) -> None:
    base = entry(work_dir, "mixup")
    turned = Series(base.label, base.run_dirs[::-1], base.train_counts, row="mixup", records=base.records[::-1])
    straight, crossed = (
        class_gain.prepare([entry(work_dir, "mixup_sar", baseline=one)]).gains[0] for one in (base, turned)
    )
    assert straight.groups == crossed.groups


def test_one_pair_has_no_interval(work_dir: Path) -> None:
    one = entry(work_dir, "mixup_sar", baseline=entry(work_dir, "mixup", runs=1))
    data = class_gain.prepare([one])
    assert data.gains[0].groups["many_shot"].low is None
    assert [text.get_text() for text in class_gain.draw(data).legends[0].get_texts()] == ["a class", "shot group"]
    assert "one pair of seeds, so no interval" in class_gain.caption(data, [one])


def test_nothing_to_draw(work_dir: Path) -> None:
    with pytest.raises(NothingToDraw, match="no row has a baseline"):
        class_gain.prepare([entry(work_dir, "mixup")])
    lacking = Series("lacking", entry(work_dir, "mixup").run_dirs, (100,) * 9 + (0,))
    with pytest.raises(NothingToDraw, match="a class has no training images"):
        class_gain.prepare([lacking])
    even = Series("even", entry(work_dir, "mixup").run_dirs, (100,) * 10)
    with pytest.raises(NothingToDraw, match="about equally frequent"):
        class_gain.prepare([even])
