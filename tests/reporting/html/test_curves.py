"""Curves: mean and range over seeds, thinned to what can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.reporting.html.curves import MOST_POINTS, curves_of, reading_titles


def history(folder: Path, values: list[object], column: str = "test_top1") -> Path:
    folder.mkdir(parents=True)
    lines = [f"{epoch},{value}" for epoch, value in enumerate(values, 1)]
    (folder / "history.csv").write_text("\n".join([f"epoch,{column}", *lines]) + "\n")
    return folder


def test_mean_lowest_and_highest_as_far_as_all_go(tmp_path: Path) -> None:
    runs = [history(tmp_path / "a", [10, 20, 30]), history(tmp_path / "b", [20, 40])]
    assert curves_of(runs, ["test_top1", "loss"], []) == {
        "unit": "epoch",
        "at": [1, 2],
        "test_top1": {"mean": [15, 30], "low": [10, 20], "high": [20, 40]},
    }


def test_one_run_has_no_band_and_shares_become_percent(tmp_path: Path) -> None:
    run = history(tmp_path / "a", [0.5, "", 1], "share_gate_open")
    assert curves_of([run], ["share_gate_open"], ["share_gate_open"])["share_gate_open"] == {"mean": [50, None, 100]}


def test_long_histories_keep_both_ends(tmp_path: Path) -> None:
    found = curves_of([history(tmp_path / "a", list(range(1000)))], ["test_top1"], [])
    assert (found["at"][0], found["at"][-1], len(found["at"])) == (1, 1000, MOST_POINTS)
    assert [epoch - 1 for epoch in found["at"]] == found["test_top1"]["mean"]


def test_a_recipe_without_epochs_counts_iterations(tmp_path: Path) -> None:
    run = history(tmp_path / "a", [30, 40], "val_miou")
    (run / "history.csv").write_text("epoch,iteration,val_miou\n1,150,30\n2,300,40\n")
    assert curves_of([run], ["val_miou"], []) == {"unit": "iteration", "at": [150, 300], "val_miou": {"mean": [30, 40]}}
    older = history(tmp_path / "b", [20, 30], "val_miou")
    assert curves_of([run, older], ["val_miou"], [])["unit"] == "epoch"


def test_a_column_that_a_run_lacks_or_without_a_number_is_left_out(tmp_path: Path) -> None:
    runs = [history(tmp_path / "a", [1]), history(tmp_path / "b", [1], "loss")]
    assert curves_of(runs, ["test_top1", "loss"], []) == {"unit": "epoch", "at": [1]}
    found = curves_of([history(tmp_path / "c", ["x", "y"])], ["test_top1"], [])
    assert found == {"unit": "epoch", "at": [1, 2]}


def test_a_damaged_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("nothing\n1\n")
    with pytest.raises(InputError, match="holds no epochs"):
        curves_of([tmp_path], ["loss"], [])


def test_the_reading_that_a_record_keeps_comes_first() -> None:
    assert next(iter(reading_titles())) == "share_gate_open"
