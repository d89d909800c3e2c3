"""Runs as jobs: with submitit's local executor, which runs them as processes of this machine; and a stand-in for the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sar_cls.engine import run
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.run import Job
from sar_cls.errors import InputError
from sar_cls.launch import slurm
from sar_cls.launch.outcome import Attempt
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.slurm import LOGS, SlurmPool, run_on_slurm
from sar_cls.runs.record import is_finished

MakeJob = Callable[..., Job]


class Handed:
    """A job that ends when it is looked at the second time."""

    def __init__(self, result: Any, number: int) -> None:
        self.end, self.job_id, self.state, self.looks, self.cancelled = result, str(number), "PENDING", 0, False

    def done(self) -> bool:
        self.looks += 1
        return self.looks > 1

    def result(self) -> Any:
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end

    def cancel(self, check: bool) -> None:
        self.cancelled = True


class Queue:
    def __init__(self, ends: dict[str, Any]) -> None:
        self.ends, self.jobs, self.functions = ends, [], []

    def submit(self, function: Any, planned: PlannedRun) -> Handed:
        if isinstance(self.ends.get(planned.title), str):
            raise ValueError(self.ends[planned.title])
        self.functions.append(function)
        done = Attempt(planned.title, "done", f"{planned.title}: top-1")
        self.jobs.append(Handed(self.ends.get(planned.title, done), len(self.jobs) + 1))
        return self.jobs[-1]


@pytest.fixture
def runs(make_job: MakeJob) -> list[PlannedRun]:
    return [plan(make_job(row=row), Options(epochs=1)) for row in "abc"]


def test_a_job_that_dies_fails_its_run_alone(runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]) -> None:
    dead = RuntimeError("Job 2 (task: 0) with path x\nhas not produced any output (state: OUT_OF_MEMORY)\n")
    queue = Queue({runs[1].title: dead})
    outcome = run_in_pool(runs, lambda left: SlurmPool(queue, 2, "logs", pause=0))
    assert (outcome.failed, outcome.done) == ([runs[1].title], [runs[0].title, runs[2].title])
    out, err = capsys.readouterr()
    assert (
        f"{runs[1].title}: failed, its job 2 ended: has not produced any output (state: OUT_OF_MEMORY) (log in logs)"
        in out
    )
    assert f"{runs[0].title}: job 1" in err


def test_a_run_that_the_queue_does_not_take_fails_alone(
    runs: list[PlannedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue({runs[1].title: "sbatch: error\nQOSMaxSubmitJobPerUserLimit"})
    outcome = run_in_pool(runs, lambda left: SlurmPool(queue, 3, "logs", pause=0))
    assert (outcome.failed, outcome.done) == ([runs[1].title], [runs[0].title, runs[2].title])
    assert f"{runs[1].title}: failed, its job was not taken: QOSMaxSubmitJobPerUserLimit" in capsys.readouterr().out
    assert not any(job.cancelled for job in queue.jobs)


@pytest.mark.parametrize(("named", "there", "used"), [(None, "cuda", "cuda"), ("cuda:1", "cuda", "cuda:1")])
def test_the_device_is_chosen_where_the_job_runs(
    runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch, named: str | None, there: str, used: str
) -> None:
    queue = Queue({})
    run_in_pool(runs[:1], lambda left: SlurmPool(queue, 1, "logs", pause=0, device=named))
    seen: list[str] = []
    monkeypatch.setattr(slurm, "usable_device", lambda name: name or there)
    monkeypatch.setattr(slurm, "try_run", lambda planned, _: seen.append(planned.options.device))
    queue.functions[0](runs[0])
    assert seen == [used]


def test_a_node_without_the_device_refuses_the_run(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str | None) -> str:
        raise InputError(f"--device {name}: this torch sees no CUDA device")

    monkeypatch.setattr(run, "usable_device", absent)
    attempt = slurm.SlurmRun("cuda")(runs[0])
    assert (attempt.end, attempt.refused) == ("failed", "--device cuda: this torch sees no CUDA device")


def test_what_is_in_the_queue_is_cancelled_when_this_process_ends(runs: list[PlannedRun]) -> None:
    queue = Queue({runs[0].title: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run_in_pool(runs, lambda left: SlurmPool(queue, 2, "logs", pause=0))
    assert [job.cancelled for job in queue.jobs] == [False, True]  # the first one ended, the third was not handed in


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"cluster": "pbs"}, "cluster=pbs: choose slurm, or local"),
        ({"cluster": "local", "most_jobs": "0"}, "most_jobs=0: give a whole number of at least 1"),
    ],
)
def test_parameters_that_make_no_sense(tmp_path: Path, parameters: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run_on_slurm([], tmp_path, parameters)
    assert list(tmp_path.iterdir()) == []


def test_without_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"needs submitit: install it with pip install 'sar-cls\[slurm\]'"):
        run_on_slurm([], tmp_path, {})


class TestWithSubmitit:
    @pytest.fixture(autouse=True)
    def submitit(self) -> Any:
        return pytest.importorskip("submitit", reason="submitit is not installed: pip install 'sar-cls[slurm]'")

    def test_no_slurm(self, tmp_path: Path, submitit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(submitit.SlurmExecutor, "affinity", lambda: -1)
        with pytest.raises(InputError, match="there is no SLURM here, sbatch is not found"):
            run_on_slurm([], tmp_path, {})

    def test_an_unknown_parameter(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"^--slurm: .*colour.*; see submitit's"):
            run_on_slurm([], tmp_path, {"cluster": "local", "colour": "red"})

    def test_a_preempted_run_is_handed_in_again(self, runs: list[PlannedRun]) -> None:
        again = slurm.SlurmRun().checkpoint(runs[0])
        assert isinstance(again.function, slurm.SlurmRun)
        assert not again.function.is_handed_in_again
        assert again.args == (runs[0],)

    def test_a_job_that_is_handed_in_again_has_no_result(
        self, runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """submitit's handler requeues and ends the process from within whatever is running."""
        job, planned = slurm.SlurmRun("cpu"), runs[0]

        def interrupted(*_: Any) -> None:
            job.checkpoint(planned)
            sys.exit(-1)

        monkeypatch.setattr(run.training, "execute", interrupted)
        with pytest.raises(SystemExit):
            job(planned)
        assert not (planned.run_dir / "error.log").exists()

    @pytest.mark.slow
    def test_jobs_of_this_machine(
        self, make_job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.2)
        planned = plan(make_job(), Options(epochs=1, threads=1))
        outcome = run_on_slurm([planned], tmp_path, {"cluster": "local", "timeout_min": "5", "most_jobs": "1"})
        printed = capsys.readouterr()
        assert outcome.done == [planned.title], printed.out + printed.err
        assert is_finished(planned.run_dir)
        assert list((tmp_path / LOGS).iterdir())
        assert run_on_slurm([planned], tmp_path, {"cluster": "local"}).done == [planned.title]
