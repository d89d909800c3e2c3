"""Accuracies over classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_outputs

from sar_cls.errors import InputError
from sar_cls.reporting.figures import class_accuracy
from sar_cls.reporting.figures.series import Series
from sar_cls.runs.per_class import write_per_class

from .entries import entry


def test_classes_from_the_most_to_the_least_frequent(work_dir: Path) -> None:
    falling = entry(work_dir, "mixup")
    rising = Series("rising", falling.run_dirs, falling.train_counts[::-1])
    lines = [class_accuracy.draw(class_accuracy.prepare([one])).axes[1].lines[0] for one in (falling, rising)]
    np.testing.assert_allclose(lines[0].get_ydata(), lines[1].get_ydata()[::-1])
    np.testing.assert_allclose(lines[0].get_ydata(), np.mean(falling.class_accuracies, axis=0))


def test_the_same_from_the_file_of_kept_runs(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    from_logits = class_accuracy.prepare([one]).rows[0][2]
    for run_dir in one.run_dirs:
        write_per_class(run_dir, {"train_counts": one.train_counts})
        (run_dir / "test_outputs.npz").unlink()
    np.testing.assert_allclose(class_accuracy.prepare([entry(work_dir, "mixup")]).rows[0][2], from_logits, atol=5e-5)


def test_classes_that_do_not_match_are_not_drawn_together(work_dir: Path) -> None:
    other = Series("other", entry(work_dir, "mixup").run_dirs, (1, 2, 3))
    with pytest.raises(InputError, match="other has 3 classes, the others 10"):
        class_accuracy.prepare([entry(work_dir, "mixup"), other])


def test_many_classes_are_dots_and_a_running_mean(work_dir: Path) -> None:
    run_dir = entry(work_dir, "mixup").run_dirs[0]
    write_outputs(run_dir, 1, num_classes=40)
    one = Series("a", (run_dir,), tuple(range(40, 0, -1)))
    data = class_accuracy.prepare([one])
    dots, mean = class_accuracy.draw(data).axes[1].lines
    accuracy = np.asarray(dots.get_ydata())
    slow = [np.mean(accuracy[max(0, i - 2) : i + 2]) for i in range(40)]
    np.testing.assert_allclose(mean.get_ydata(), slow)
    assert "running mean over 4 classes" in class_accuracy.caption(data, [one])


def test_the_running_mean_is_of_the_classes_that_are_known() -> None:
    values = np.random.default_rng(0).uniform(0, 100, 40)
    values[[7, 20, 21, 22, 23]] = np.nan  # without a test image; of classes 20 to 23 no neighbour is known at 22
    slow = []
    for i in range(40):
        known = [value for value in values[max(0, i - 2) : i + 2] if np.isfinite(value)]
        slow.append(np.mean(known) if known else np.nan)
    assert np.isnan(slow[22])
    np.testing.assert_allclose(class_accuracy.running_mean(values, 4), slow)
