"""Curves over epochs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import write_history

from sar_cls.errors import InputError
from sar_cls.reporting.figures import curves
from sar_cls.reporting.figures.series import NothingToDraw

from .entries import entry


def test_training_curves_show_the_mean_over_seeds(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    data = curves.prepare_training([one])
    above, below = curves.draw(data).axes
    for axis, column in ((above, "test_top1"), (below, "loss")):
        np.testing.assert_allclose(
            axis.lines[0].get_ydata(), np.mean([history[column] for history in one.histories], axis=0)
        )
    assert list(above.lines[0].get_xdata()) == [1, 2, 3, 4, 5]
    assert [axis.get_ylabel() for axis in (above, below)] == ["Test accuracy (%)", "Training loss"]
    text = curves.caption_training(data, [one])
    assert "bands: from the lowest to the highest" in text
    assert text.endswith("mixup: 2 runs; seeds 1, 2.")


def test_the_loss_of_a_regularized_row_is_the_classification_loss_alone(work_dir: Path) -> None:
    one = entry(work_dir, "mixup_sar")
    for run_dir in one.run_dirs:
        history = pd.read_csv(run_dir / "history.csv")
        history["loss_ce"] = 1.0 / history["epoch"]
        history.to_csv(run_dir / "history.csv", index=False)
    curve = curves.prepare_training([one])[1].curves[0]
    np.testing.assert_allclose(curve.values, [1 / np.arange(1, 6)] * 2)


@pytest.mark.parametrize("column", ["epoch", "test_top1", "share_gate_open"])
def test_text_where_numbers_belong_is_one_sentence(work_dir: Path, column: str) -> None:
    one = entry(work_dir, "mixup_sar")
    path = one.run_dirs[1] / "history.csv"
    history = pd.read_csv(path).astype({column: object})
    history.loc[2, column] = "abc"
    history.to_csv(path, index=False)
    with pytest.raises(InputError, match=re.escape(f"{path} is damaged (not all of {column!r} are numbers)")):
        curves.prepare_readings([one]) if column == "share_gate_open" else curves.prepare_training([one])


@pytest.mark.parametrize(("epochs", "ticks"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5])])
def test_only_whole_epochs_are_ticks(work_dir: Path, epochs: int, ticks: list[int]) -> None:
    one = entry(work_dir, "mixup_sar", runs=1, records=())
    write_history(one.run_dirs[0], 1, epochs=epochs, sar=True)
    for data in (curves.prepare_training([one]), curves.prepare_readings([one])):
        axis = curves.draw(data).axes[-1]
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == ticks
        assert low < 1 < high


def test_a_small_difference_after_one_epoch_does_not_fill_the_axis(work_dir: Path) -> None:
    one = entry(work_dir, "mixup", records=())
    for seed, run_dir in enumerate(one.run_dirs):
        write_history(run_dir, seed, epochs=1, top=75.0 + seed)
    low, high = curves.draw(curves.prepare_training([one])).axes[0].get_ylim()
    assert high - low >= curves.LEAST_SPAN


def test_the_gate_of_rows_that_have_one(work_dir: Path) -> None:
    rows = [entry(work_dir, "mixup"), entry(work_dir, "mixup_sar")]
    with pytest.raises(NothingToDraw, match="SAR has a gate"):
        curves.prepare_readings(rows[:1])
    data = curves.prepare_readings(rows)
    figure = curves.draw(data)
    assert [len(axis.lines) for axis in figure.axes] == [1, 1, 1]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [4, 8, 12, 16, 20])  # epoch / 25, in percent
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mixup_sar"]
    assert curves.caption_readings(data, rows).endswith("mixup_sar: 2 runs; seeds 1, 2.")


def test_a_recipe_without_epochs_is_drawn_over_iterations(work_dir: Path) -> None:
    one = entry(work_dir, "mixup_sar", runs=1)
    rows = [replace(one, records=({**one.records[0], "epochs": 750},))]
    history = pd.read_csv(rows[0].run_dirs[0] / "history.csv")
    history["iteration"] = 150 * history["epoch"]
    history.rename(columns={"test_top1": "val_miou"}).to_csv(rows[0].run_dirs[0] / "history.csv", index=False)
    data = curves.prepare_training(rows)
    above, below = curves.draw(data).axes
    assert list(above.lines[0].get_xdata()) == [150, 300, 450, 600, 750]
    assert (below.get_xlabel(), above.get_ylabel()) == ("Iteration", "Validation mIoU (%)")
    assert "regularizers (below), over iterations." in curves.caption_training(data, rows)
    readings = curves.prepare_readings(rows)
    assert "in the mean over the iterations between two evaluations" in curves.caption_readings(readings, rows)


def test_a_history_that_was_cut_off_is_not_drawn(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    write_history(one.run_dirs[1], 1, epochs=3)
    says = f"{one.run_dirs[1] / 'history.csv'} is damaged (it ends at epoch 3 and the run at 5); move the folder"
    with pytest.raises(InputError, match=re.escape(says)):
        curves.prepare_training([one])


def test_a_validation_split_in_one_row_alone(work_dir: Path) -> None:
    """Drawn is what all histories have."""
    rows = [entry(work_dir, "mixup"), entry(work_dir, "mixup_sar")]
    for number, one in enumerate(rows):
        for run_dir in one.run_dirs:
            history = pd.read_csv(run_dir / "history.csv").rename(columns={"test_top1": "test_miou"})
            history = history.assign(val_miou=0.0) if number == 0 else history
            history.to_csv(run_dir / "history.csv", index=False)
    above = curves.draw(curves.prepare_training(rows)).axes[0]
    assert above.get_ylabel() == "Test mIoU (%)"
    assert len(above.lines) == 2
