"""What --dry-run says: states of runs, and times from earlier records against a loop."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest
import torch
from synthetic_runs import make_record, write_run
from tiny_runs import files_of

from sar_cls.cli import CONFIGS
from sar_cls.commands import run as command
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun
from sar_cls.errors import InputError
from sar_cls.launch import forecast
from sar_cls.launch.outcome import Attempt
from sar_cls.launch.plans import plan_runs
from sar_cls.runs import folder
from sar_cls.runs.history import write_history
from sar_cls.suites.rows import load_suite, select_rows


def runs_of(work_dir: Path, only: list[str], seeds: int = 1) -> list[PlannedRun]:
    rows = select_rows(load_suite(CONFIGS, "digits"), only)
    return plan_runs(rows, list(range(seeds)), Options(), work_dir)


def earlier(work_dir: Path, row: str, seed: int, seconds: float, **changes: object) -> None:
    record = make_record("digits", row, seed, 50.0, wall_seconds=seconds, epochs=10, epochs_recipe=10, **changes)
    write_run(work_dir, {"backbone": "SmallNet", "dataset": "digits"} | record | changes)


def quiet(sentence: str) -> None:
    pytest.fail(sentence)


def test_states_and_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(tmp_path, ["baseline", "sar", "car"])
    baseline, sar, car = runs
    for planned, epochs in ((sar, 12), (car, 5)):
        planned.run_dir.mkdir(parents=True)
        write_history([{"epoch": epoch} for epoch in range(1, epochs + 1)], planned.run_dir)
    done = Attempt(baseline.title, "done", "", before=True)
    monkeypatch.setattr(forecast, "finished_before", lambda run, _: done if run is baseline else None)
    before = files_of(tmp_path)
    with folder.lock(sar.run_dir):
        states = forecast.look(runs, tmp_path, "cpu", quiet)
    assert [state.state for state in states] == ["finished", "at work", "begun"]
    assert [state.epochs for state in states] == [0, 12, 5]
    assert files_of(tmp_path) == before
    text = forecast.describe(states, 1).splitlines()
    assert text[0] == f"{baseline.title}: finished"
    assert text[1] == f"{sar.title}: at work, epoch 12 of 20, no earlier record says how long"
    assert text[3] == "3 runs: 1 finished, 1 at work, 1 to run; no earlier record says how long 1 of them take"


def test_a_recipe_of_iterations_is_counted_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (planned,) = runs_of(tmp_path, ["baseline"])
    monkeypatch.setattr(PlannedRun, "unit", "iterations")
    net, data = forecast._backbone(planned), forecast._dataset(planned)
    keys = forecast.cost_keys("digits", "baseline", net, data, "cpu", "fp32")
    monkeypatch.setattr(forecast, "seconds_per_epoch", lambda _: dict.fromkeys(keys, 2.0))
    planned.run_dir.mkdir(parents=True)
    write_history([{"epoch": 1, "iteration": 5}, {"epoch": 2, "iteration": 10}], planned.run_dir)
    (state,) = forecast.look([planned], tmp_path, "cpu", quiet)
    assert str(state) == f"{planned.title}: begun, iteration 10 of 20, about 0:20"


def test_times_are_the_median_of_the_row_else_of_its_net_on_its_data(tmp_path: Path) -> None:
    (planned,) = runs_of(tmp_path / "new", ["sar"])
    net, data = forecast._backbone(planned), forecast._dataset(planned)
    own, others = [30.0, 10.0, 50.0], [500.0, 700.0]
    for seed, seconds in enumerate(own):
        earlier(tmp_path, "sar", seed, seconds, backbone=net, dataset=data)
    for seed, seconds in enumerate(others):
        earlier(tmp_path, "car", seed, seconds, backbone=net, dataset=data)
    earlier(tmp_path, "sar", 90, 1e6, backbone=net, dataset=data, device="cuda")
    earlier(tmp_path, "sar", 91, 1e6, backbone=net, dataset=data, precision="bf16")
    earlier(tmp_path, "sar", 92, 1e6, backbone="other", dataset=data)
    (state,) = forecast.look([planned], tmp_path, "cpu", quiet)
    assert state.seconds == pytest.approx(statistics.median(own) / 10 * planned.epochs)
    (fixed,) = runs_of(tmp_path / "new", ["fixed"])
    (state,) = forecast.look([fixed], tmp_path, "cpu", quiet)
    assert state.seconds == pytest.approx(statistics.median([*own, *others]) / 10 * fixed.epochs)
    (state,) = forecast.look([fixed], tmp_path / "none", "cpu", quiet)
    assert state.seconds is None


@pytest.mark.parametrize("suite", ["camvid", "cityscapes", "ade20k", "pascal_context"])
def test_a_suite_of_segmentation_nets_is_foretold(suite: str, tmp_path: Path) -> None:
    """Data sets of mmseg have no name in a config: what records call them is what times are looked up by."""
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    rows = load_suite(CONFIGS, suite).rows
    (planned,) = plan_runs(
        [next(row for row in rows if row.stage == 1)], [1], Options(weights="none"), tmp_path / "new"
    )
    names = dict(backbone=forecast._backbone(planned), dataset={"pascal_context": "pascalcontext"}.get(suite, suite))
    record = make_record(suite, planned.row, 1, 50.0, wall_seconds=30.0, epochs=10, epochs_recipe=10)
    write_run(tmp_path, record | names)
    (state,) = forecast.look([planned], tmp_path, "cpu", quiet)
    assert state.seconds == pytest.approx(3.0 * planned.epochs)
    assert f"about {forecast._words(state.seconds)}" in str(state)


def test_a_second_stage_has_the_net_of_its_first_one(tmp_path: Path) -> None:
    """Its own config has another; records name the one that was trained."""
    rows = select_rows(load_suite(CONFIGS, "digits_lt"), ["mixup_mislas"])
    runs = plan_runs(rows, [1], Options(backbone="timm:resnet18"), tmp_path / "new")
    own = forecast._backbone(plan_runs(rows, [1], Options(), tmp_path / "new")[1])
    assert own != "timm:resnet18"
    for seed, (net, seconds) in enumerate(((own, 1e6), ("timm:resnet18", 30.0))):
        names = {"backbone": net, "dataset": "digits"}
        record = make_record("digits_lt", "mixup_mislas", seed, 50.0, wall_seconds=seconds, epochs=10, epochs_recipe=10)
        write_run(tmp_path, record | names)
    first, second = forecast.look(runs, tmp_path, "cpu", quiet)
    assert second.seconds == pytest.approx(3.0 * second.planned.epochs)
    assert first.seconds == pytest.approx(3.0 * first.planned.epochs)  # the net on its data


@pytest.mark.parametrize("launcher", ["slurm", "print", "ray", "local"])
def test_the_device_of_other_machines_need_not_be_here(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And times are looked up for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (planned,) = runs_of(tmp_path / "new", ["sar"])
    for seed, (device, seconds) in enumerate((("cpu", 1e6), ("cuda", 30.0))):
        names = {"backbone": forecast._backbone(planned), "dataset": forecast._dataset(planned)}
        earlier(tmp_path, "sar", seed + 5, seconds, device=device, **names)
    arguments = ["--suite", "digits", "--only", "sar", "--seed", "1", "--device", "cuda:1", "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["run", *arguments, "--launcher", launcher, "--work-dir", str(tmp_path)])
    if launcher == "local":
        with pytest.raises(InputError, match="this torch sees no CUDA device"):
            command.main()
        return
    assert command.main() == 0
    out, err = capsys.readouterr()
    assert f"about {forecast._words(3.0 * planned.epochs)} one after the other" in out
    assert err == ""


def state_of(planned: PlannedRun, seconds: float | None) -> forecast.State:
    return forecast.State(planned, "to run", seconds=seconds)


def test_the_sum(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["baseline"], seeds=3)
    states = [state_of(run, seconds) for run, seconds in zip(runs, (60.0, 60.0, 120.0), strict=True)]
    assert forecast.describe(states, 1).endswith(
        "3 runs: 0 finished, 0 at work, 3 to run; about 4:00 one after the other"
    )
    assert forecast.describe(states, 2).endswith("about 4:00 one after the other, 2:00 on 2 at a time")
    # No faster than the longest one, however many places there are.
    assert forecast.describe(states, 64).endswith("2:00 on 64 at a time")
    long = forecast.describe([state_of(runs[0], 200_000.0)], 1)
    assert long.endswith("about 2 d 7:33:20 one after the other")
    assert "about 2 d 7:33:20" in long.splitlines()[0]


def test_a_refused_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(tmp_path, ["baseline"])
    refused = Attempt(runs[0].title, "failed", "", refused="holds another recipe")
    monkeypatch.setattr(forecast, "finished_before", lambda *_: refused)
    text = forecast.describe(forecast.look(runs, tmp_path, "cpu", quiet), 1).splitlines()
    assert text == [
        f"{runs[0].title}: refused, holds another recipe",
        "1 run: 0 finished, 0 at work, 0 to run, 1 refused",
    ]


class TestLacking:
    """What would stop the runs that are left, asked before any is started."""

    def states(self, work_dir: Path, options: Options, suite: str = "cifar100_lt_16") -> list[forecast.State]:
        rows = select_rows(load_suite(CONFIGS, suite), ["mixup", "mixup_sar", "mixup_mislas"])
        return [forecast.State(run, "to run") for run in plan_runs(rows, [0, 1], options, work_dir)]

    def test_images_are_named_once(self, tmp_path: Path) -> None:
        states = self.states(tmp_path / "work", Options(data_root=str(tmp_path)))
        (sentence,) = forecast.lacking(states)
        assert sentence.startswith(f"CIFAR-100 is not under {tmp_path} (looked for ")
        assert not (tmp_path / "work").exists()

    def test_images_that_would_be_fetched_do_not_lack(self, tmp_path: Path) -> None:
        assert forecast.lacking(self.states(tmp_path / "work", Options(data_root=str(tmp_path), download=True))) == []

    @pytest.mark.parametrize("state", ["finished", "at work", "refused"])
    def test_of_runs_that_are_not_left_nothing_is_asked(self, state: str, tmp_path: Path) -> None:
        states = self.states(tmp_path / "work", Options(data_root=str(tmp_path)))
        assert forecast.lacking([forecast.State(found.planned, state) for found in states]) == []

    def test_a_file_of_weights(self, tmp_path: Path) -> None:
        (tmp_path / "cifar-100-python").mkdir()
        weights = tmp_path / "net.pth"
        options = Options(data_root=str(tmp_path), weights=str(weights))
        states = self.states(tmp_path / "work", options)
        (sentence,) = forecast.lacking(states)
        assert (
            sentence == f"there is no weight file {weights}: check the path, or write timm:NAME for published weights"
        )
        for state in states:  # each has begun, and with them has its weights
            state.planned.run_dir.mkdir(parents=True)
            (state.planned.run_dir / folder.LAST).touch()
        assert forecast.lacking(states) == []

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ({"backbone": "nope"}, "unknown backbone 'nope': write timm:NAME or torchvision:NAME, for example"),
            ({"backbone": "torchvision:resnet1"}, "torchvision has no classification model 'resnet1'"),
            ({"weights": "timm:resnet1888"}, "timm has no model 'resnet1888': did you mean "),
        ],
        ids=str,
    )
    def test_names_that_a_library_does_not_know(self, tmp_path: Path, asked: dict[str, str], says: str) -> None:
        """Looked up as the run does it: nothing is built or fetched."""
        (tmp_path / "cifar-100-python").mkdir()
        rows = select_rows(load_suite(CONFIGS, "cifar100_lt_16"), ["mixup"])
        runs = plan_runs(rows, [0], Options(data_root=str(tmp_path), **asked), tmp_path / "work")
        (sentence,) = forecast.lacking([forecast.State(run, "to run") for run in runs])
        assert sentence.startswith(says)
