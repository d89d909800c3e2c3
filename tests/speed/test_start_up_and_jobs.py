"""Waiting times and runs an hour, from processes that are started as a user starts them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.speed import jobs, setting
from sar_cls.speed import markdown as table
from sar_cls.speed.jobs import Throughput, measure_jobs
from sar_cls.speed.setting import Setting
from sar_cls.speed.start_up import measure_start_up

CPU = Setting("resnet32", torch.device("cpu"))


def test_start_up_ends_with_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setting.NETS, "resnet32", ("digits", "baseline"))
    waits = measure_start_up(CPU, None, rounds=1)
    assert list(waits) == ["list", "first step"]
    assert 0 < waits["list"].low <= waits["list"].high < waits["first step"].low
    assert "first step" in table.start_up_table(waits)


def test_a_run_without_a_step_is_an_error() -> None:
    with pytest.raises(InputError, match=r"ended with code 2: .*nowhere"):
        measure_start_up(CPU, "/nowhere", rounds=1)


@pytest.mark.slow
def test_runs_an_hour_of_short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setting.NETS, "resnet32", ("digits", "baseline"))
    (found,) = measure_jobs(CPU, [2], None, epochs=3)
    assert (found.jobs, found.recipe_epochs) == (2, 20)
    assert min(found.seconds_epoch, found.seconds_rest) > 0
    shown = table.jobs_table([found])
    assert f"| {found.runs_an_hour:.2f} " in shown
    assert "threads of each" in shown
    assert "waiting" in shown


def test_a_number_of_runs_is_compared_with_the_first() -> None:
    one, two = (Throughput(number, 1.5 * number, 12.0, 200, 3, "sleep") for number in (1, 3))
    ratio = 3 * (200 * 1.5 + 12.0) / (200 * 4.5 + 12.0)
    *_, first, second, _, text = table.jobs_table([one, two]).splitlines()
    assert [line.split("|")[-2].strip() for line in (first, second)] == ["1.00", f"{ratio:.2f}"]
    assert text == "A whole run has 200 epochs."


def test_the_figures_are_those_of_the_epochs_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 160.0])
    commands: list[list[str]] = []
    environments: list[dict[str, str]] = []
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess:
        commands.append(command)
        environments.append(env)
        for seed, epochs in enumerate([(9.0, 3.0, 4.0, 1.0), (9.5, 5.0, 8.0, 1.0)]):
            folder = Path(command[command.index("--work-dir") + 1]) / f"seed{seed}"
            folder.mkdir()
            with (folder / "history.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, ["seconds_train", "seconds_eval"])
                writer.writeheader()
                writer.writerows({"seconds_train": seconds - 0.5, "seconds_eval": 0.5} for seconds in epochs)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(jobs.subprocess, "run", run)
    monkeypatch.setattr(jobs.time, "perf_counter", lambda: next(clock))
    (found,) = measure_jobs(CPU, [2], "data", epochs=4, threads=3)
    assert found == Throughput(2, np.median([3.0, 4.0, 5.0, 8.0]), 60.0 - 23.5, 200, 3, "sleep")
    assert found.runs_an_hour == pytest.approx(2 * 3600 / (200 * 4.5 + 36.5))
    (command,) = commands
    assert command[0] == sys.executable
    for option, value in {
        "--suite": "cifar100_lt", "--only": "ce", "--seeds": "2", "--jobs-per-device": "2", "--epochs": "4",
        "--precision": "fp32", "--mode": "eager", "--device": "cpu", "--data-root": str(Path("data").absolute()),
        "--threads": "3",
    }.items():  # fmt: skip
        assert command[command.index(option) + 1] == value


def test_a_failed_run_and_too_few_epochs() -> None:
    with pytest.raises(InputError, match="1 run at a time ended with code 2"):
        measure_jobs(CPU, [1], "/nowhere", epochs=3)
    with pytest.raises(ValueError, match="at least 3 epochs"):
        measure_jobs(CPU, [1], None, epochs=2)


@pytest.mark.parametrize(("wait", "expected"), [("sleep", (None, "10000")), ("spin", (None, "300000"))])
def test_how_threads_wait(monkeypatch: pytest.MonkeyPatch, wait: str, expected: tuple[str | None, str | None]) -> None:
    monkeypatch.setenv("KMP_BLOCKTIME", "7")

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess:
        assert (env.get("OMP_WAIT_POLICY"), env.get("GOMP_SPINCOUNT")) == expected
        assert "KMP_BLOCKTIME" not in env
        return subprocess.CompletedProcess(command, 2, "", "so far")

    monkeypatch.setattr(jobs.subprocess, "run", run)
    with pytest.raises(InputError, match="so far"):
        measure_jobs(CPU, [1], None, epochs=3, waits=[wait])
