"""Two commands on one work directory at a time, and commands that are killed: no run is lost, and none is run twice.

Commands are real ones in processes of their own; a net that waits for gates (``gated_net.py``) says what happens before what.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gated_net
import pytest
from gated_net import IN_THE_LAST_EPOCH, STEPS, STEPS_OF_AN_EPOCH

from sar_cls.cli import ROOT
from sar_cls.runs.record import read_record

from .conftest import Three

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Drivers:
    """Starts ``benchmarks/run.py`` on one work directory, and ends what is left of it at the end."""

    def __init__(self, folder: Path, gates: dict[str, str], at: int) -> None:
        self.folder, self.work_dir, self.configs = folder / "gates", folder / "work", folder / "configs"
        gated_net.write_suite(self.configs, self.folder, gates, at)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        whole = ["--configs", str(self.configs), "--suite", "gated", "--seed", "1", "--threads", "1", "--device", "cpu"]
        whole += ["--work-dir", str(self.work_dir), *arguments]
        out, err = (self.work_dir.parent / f"{name}{len(self.started)}" for name in ("out", "err"))
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-u", str(ROOT / "benchmarks" / "run.py"), *whole],
                stdout=out_file,
                stderr=err_file,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
            )
        self.started.append(process)
        return process

    def said(self, process: subprocess.Popen[str], stream: str = "out") -> str:
        return (self.work_dir.parent / f"{stream}{self.started.index(process)}").read_text()

    def all_said(self) -> str:
        return "\n\n".join(self.said(process, stream) for process in self.started for stream in ("out", "err"))

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + 200
        while not what():
            assert time.monotonic() < end, self.all_said()
            time.sleep(0.05)

    def end(self, process: subprocess.Popen[str]) -> int:
        """Its exit code."""
        self.until(lambda: process.poll() is not None)
        return process.returncode

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def steps(self) -> dict[str, dict[str, int]]:
        return gated_net.steps(self.folder)

    def reached(self, row: str, step: int) -> bool:
        return step in self.steps().get(row, {}).values()


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Callable[[dict[str, str], int], Drivers]]:
    made: list[Drivers] = []

    def make(gates: dict[str, str], at: int) -> Drivers:
        made.append(Drivers(tmp_path, gates, at))
        return made[-1]

    yield make
    for process in [process for each in made for process in each.started]:  # none where a fixture has skipped the test
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("sync", [False, True])
def test_a_cluster_and_a_machine_share_a_suite(
    three: Three, drivers: Callable[[dict[str, str], int], Drivers], sync: bool
) -> None:
    """The cluster's command is at ``a`` and ``b`` when the other comes, which is at ``c`` when the first one comes to that."""
    three.complete()
    both = drivers({"a": "first", "b": "first", "c": "second", "d": ""}, 2)
    ray = both.start("--launcher", "ray", "--address", three.cluster.address, *(["--sync"] if sync else []))
    both.until(lambda: both.reached("a", 2) and both.reached("b", 2))
    local = both.start()
    both.until(lambda: both.reached("c", 2))
    both.open("first")
    assert both.end(ray) == 3, both.all_said()
    both.open("second")
    assert both.end(local) == 3, both.all_said()
    passed = "another process is at this run, passed over"
    for process, runs in ((ray, ["[3/4] gated/c"]), (local, ["[1/4] gated/a", "[2/4] gated/b"])):
        lines = both.said(process).splitlines()
        assert [line for line in lines if passed in line] == [f"{run} seed 1: {passed}" for run in runs]
        number = f"{len(runs)} runs were" if len(runs) > 1 else "1 run was"
        them = "them" if len(runs) > 1 else "it"
        assert f"Not all is done: {number} passed over because another process is at {them};" in lines[-1]
    assert "[4/4] gated/d seed 1: finished before" in both.said(local)
    done = both.steps()
    assert sorted(done) == ["a", "b", "c", "d"]
    for row, processes in done.items():
        assert list(processes.values()) == [STEPS], f"{row} was run by {processes}"
    again = both.start()
    assert both.end(again) == 0, both.all_said()
    assert both.said(again).count("finished before") == 4
    assert both.steps() == done


@pytest.mark.parametrize("launcher", ["ray", "local"])
def test_a_command_that_is_killed_goes_on_where_it_was(
    request: pytest.FixtureRequest, drivers: Callable[[dict[str, str], int], Drivers], launcher: str
) -> None:
    """Killed when ``a`` is finished and ``b`` and ``c`` are in their last epoch, at a gate that is never opened."""
    arguments = ["--jobs-per-device", "2"]
    if launcher == "ray":
        three: Three = request.getfixturevalue("three")
        three.complete()
        arguments = ["--launcher", "ray", "--address", three.cluster.address]
    commands = drivers({"a": "", "b": "shut", "c": "shut", "d": ""}, IN_THE_LAST_EPOCH)
    first = commands.start(*arguments)
    commands.until(lambda: commands.reached("b", IN_THE_LAST_EPOCH) and commands.reached("c", IN_THE_LAST_EPOCH))
    first.kill()
    first.wait()
    finished = list(commands.work_dir.glob("gated/*/*/record.json"))
    assert [path.parents[1].name for path in finished] == ["a"]
    before = finished[0].read_bytes()
    second = commands.start(*arguments)
    assert commands.end(second) == 0, commands.all_said()
    assert "[1/4] gated/a seed 1: finished before" in commands.said(second)
    assert finished[0].read_bytes() == before
    for row, processes in commands.steps().items():
        expected = [IN_THE_LAST_EPOCH, STEPS_OF_AN_EPOCH] if row in "bc" else [STEPS]
        assert list(processes.values()) == expected, f"{row} was run by {processes}"
    records = [read_record(path.parent) for path in sorted(commands.work_dir.glob("gated/*/*/record.json"))]
    assert [(record["row"], record["epochs"]) for record in records] == [(row, 3) for row in "abcd"]


def test_a_node_is_lost_under_a_command(three: Three, drivers: Callable[[dict[str, str], int], Drivers]) -> None:
    """Its run goes on elsewhere from its last epoch, and results are as quiet as without it."""
    three.complete()
    commands = drivers({"a": "first", "b": "first"}, IN_THE_LAST_EPOCH)
    command = commands.start("--launcher", "ray", "--address", three.cluster.address)
    commands.until(lambda: commands.reached("a", IN_THE_LAST_EPOCH) and commands.reached("b", IN_THE_LAST_EPOCH))
    processes = [int(process) for row in commands.steps().values() for process in row]
    three.cluster.remove_node(three.nodes.pop(), allow_graceful=False)
    # Its process lives on a moment, and would go through an open gate.
    commands.until(lambda: not all(Path(f"/proc/{process}").exists() for process in processes))
    commands.open("first")
    assert commands.end(command) == 0, commands.all_said()
    steps = sorted(list(processes.values()) for processes in commands.steps().values())
    assert steps == [[IN_THE_LAST_EPOCH, STEPS_OF_AN_EPOCH], [STEPS]]
    assert commands.said(command, "err").count("its node or process is lost, started again") == 1
    results = commands.said(command)
    assert results.count(": top-1 ") == 2
    assert "state-dump" not in results + commands.said(command, "err")
    assert "raylet" not in results
