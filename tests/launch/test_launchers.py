"""The registry of launchers, which places each takes, and arguments that belong to another one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sar_cls.commands import run as command
from sar_cls.engine import options
from sar_cls.errors import InputError
from sar_cls.launch import serial, workers
from sar_cls.launch.launchers import LAUNCHERS, Launch, local
from sar_cls.launch.outcome import Outcome


def test_the_command_line_knows_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHERS:
        monkeypatch.setattr(sys, "argv", ["run", "--launcher", name])
        assert command.parse().launcher == name
    monkeypatch.setattr(sys, "argv", ["run"])
    assert command.parse().launcher == "local"
    assert set(LAUNCHERS) == {"local", "print", "slurm", "ray"}


@pytest.mark.parametrize(
    ("cuda", "device", "each", "places"),
    [
        (0, None, 1, None),
        (1, None, 1, None),
        (1, None, 3, (["cuda"], 3)),
        (4, None, 1, ([f"cuda:{index}" for index in range(4)], 1)),
        (4, None, 2, ([f"cuda:{index}" for index in range(4)], 2)),
        (4, "cuda:1", 1, None),
        (4, "cpu", 2, (["cpu"], 2)),
        (0, None, 2, (["cpu"], 2)),
    ],
)
def test_places_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, cuda: int, device: str | None, each: int, places: Any
) -> None:
    monkeypatch.setattr(options.torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(options.torch.cuda, "device_count", lambda: cuda)
    taken: list[Any] = []
    monkeypatch.setattr(serial, "run_serially", lambda runs: taken.append(None) or Outcome())
    monkeypatch.setattr(workers, "run_side_by_side", lambda runs, *where: taken.append(where) or Outcome())
    local([], Launch("s", Path("configs"), Path("work"), device=device, each=each))
    assert taken == [places]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--address", "1.2.3.4:6379"], "--address is for --launcher ray"),
        (["--sync", "--launcher", "slurm"], "--sync is for --launcher ray"),
        (["--slurm", "timeout_min=5"], "--slurm is for --launcher slurm"),
    ],
)
def test_options_of_another_launcher(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    with pytest.raises(InputError, match=words):
        command.check_launcher(command.parse())


@pytest.mark.parametrize("arguments", [["--jobs-per-device", "2"], ["--launcher", "ray"]])
def test_torchrun_with_several_runs(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    command.check_launcher(command.parse())
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="torchrun starts the processes of one run"):
        command.check_launcher(command.parse())


def test_a_slurm_parameter_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--launcher", "slurm", "--slurm", "timeout_min"])
    with pytest.raises(SystemExit):
        command.parse()
    assert "'timeout_min' must be KEY=VALUE" in capsys.readouterr().err
