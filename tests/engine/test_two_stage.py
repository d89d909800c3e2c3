"""The runs behind the scripts of the two stages, by name of method and data set; the scripts themselves are in tests/longtail."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine import two_stage
from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.runs.folder import LAST


@pytest.mark.parametrize(
    ("dataset", "method", "home", "row", "overrides"),
    [
        ("cifar100", "mixup", "cifar100_lt", "mixup", {}),
        ("cifar100", "sar", "cifar100_lt", "mixup_sar", {}),
        ("digits", "sar", "digits_lt", "mixup_sar", {}),
        # No row of its own: the general suite's config with this suite's data and factor.
        ("digits", "focal", "cifar100_lt", "focal", {"dataset": "digits", "imbalance": 10}),
        ("folder", "mixup", "cifar100_lt", "mixup", {"dataset": "folder", "imbalance": "none"}),
    ],
)
def test_first_stages(tmp_path: Path, dataset: str, method: str, home: str, row: str, overrides: dict) -> None:
    planned = two_stage.first_stage_run(CONFIGS, dataset, method, 7, Options(), tmp_path)
    assert (planned.suite, planned.row, planned.seed) == (f"{dataset}_lt", row, 7)
    assert planned.source.name == f"{home}/{row}"
    assert planned.overrides == overrides
    assert planned.options.imbalance == overrides.get("imbalance")
    assert planned.run_dir.parent == tmp_path / f"{dataset}_lt" / row
    assert planned.title == f"{dataset}_lt/{row} seed 7"
    assert planned.stage1_dir is None


def test_unknown_methods_are_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown method 'mixupp': choose one of .*mixup"):
        two_stage.first_stage_run(CONFIGS, "digits", "mixupp", 1, Options(), tmp_path)
    assert {"mixup", "sar", "ce"} <= set(two_stage.first_stage_methods(CONFIGS))
    assert {"mislas", "crt", "tau"} <= set(two_stage.second_stage_methods(CONFIGS))


def test_second_stages_without_batch_norm_shift_none() -> None:
    others = two_stage.without_batch_norm(CONFIGS)
    assert "mislas" not in others
    assert {"tau", "logit_adjustment"} <= set(others) <= set(two_stage.second_stage_methods(CONFIGS))


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert two_stage.run_folder(run) == run
    assert two_stage.run_folder(run / LAST) == run
    (run / "best.pth").write_text("")
    with pytest.raises(
        InputError, match=f"is not the last checkpoint of a run: give the folder of a run, or its {LAST}"
    ):
        two_stage.run_folder(run / "best.pth")
    with pytest.raises(InputError, match="no run at"):
        two_stage.run_folder(tmp_path / "none")


@pytest.mark.parametrize("epochs", [0, 5])
def test_what_a_finished_stage_prints(tmp_path: Path, epochs: int) -> None:
    figures = {"top1": 50.126, "many_shot": 60.0, "medium_shot": None, "few_shot": 1.234, "ece": 3.456}
    record = {
        "metrics": {"last": figures, "best": {**figures, "top1": 51.0}},
        "best_on": "val",
        "best_epoch": 3,
        "epochs": epochs,
        "train_counts": [1000, 500],
        "extra": {"images_found": 2000, "data_order": "official archive"},
        "data_fingerprint": {"train": "abc"},
    }
    lines = two_stage.summary(record, tmp_path).splitlines()
    assert lines[0] == "training images: 1,500 of 2,000 found, official archive, fingerprint abc"
    shown = "top-1 50.13 %, many 60.00, medium no class, few 1.23, ECE 3.46 %"
    if epochs:
        assert lines[1:3] == [f"last epoch: {shown}", f"best epoch on val (3): {shown.replace('50.13', '51.00')}"]
        assert lines[3] == f"checkpoint: {tmp_path / LAST}"
    else:  # nothing was trained, so there is one epoch to speak of and no checkpoint
        assert lines[1:] == [f"corrected: {shown}", f"record: {tmp_path / 'record.json'}"]
