"""Several runs at a time: the same records as one after the other, whatever happens to a worker."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sar_cls.cli import CONFIGS, ROOT
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.launch import workers
from sar_cls.launch.attempt import try_run
from sar_cls.launch.plans import plan_runs
from sar_cls.launch.serial import run_serially
from sar_cls.launch.workers import run_side_by_side
from sar_cls.runs.record import read_record
from sar_cls.suites.rows import load_suite, select_rows

OTHER_CLASSES = f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nmodel = dict(head=dict(num_classes=7))\n'
# What depends on the wall clock, names a run, or changes when a file is edited meanwhile.
VARYING = ("run_id", "finished_at", "wall_seconds", "images_per_second", "peak_memory_bytes", "git")


class Deadly(str):
    """Ends the process that it is sent to, as the system does for lack of memory."""

    def __reduce__(self) -> tuple:
        return os._exit, (9,)


def result(folder: Path) -> dict:
    record = {key: value for key, value in read_record(folder).items() if key not in VARYING}
    if record["stage1"]:
        record["stage1"] = {key: value for key, value in record["stage1"].items() if key not in VARYING}
    outputs = np.load(folder / "test_outputs.npz")
    return {**record, "logits": outputs["logits"].tobytes()}


def group_is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_same_records_as_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = select_rows(load_suite(CONFIGS, "digits_lt"), ["mixup", "mixup_sar", "mixup_sar_mislas"])
    options = Options(epochs=1, stage2_epochs=1, threads=1)
    folders = {}
    for name in ("one", "two"):
        jobs = plan_runs(rows, [1024], options, tmp_path / name)
        outcome = run_serially(jobs) if name == "one" else run_side_by_side(jobs, ["cpu"], 2)
        assert sorted(outcome.done) == [job.title for job in jobs]
        assert outcome.failed == outcome.locked == []
        assert {read_record(job.run_dir)["machine"]["threads"] for job in jobs} == {1}
        folders[name] = [job.run_dir for job in jobs]
    printed = capsys.readouterr()
    assert "2 of 3 runs, about " in printed.err
    assert " left" not in printed.out
    assert "2 runs at a time with 1 thread each" in printed.err
    for one, two in zip(folders["one"], folders["two"], strict=True):
        assert result(one) == result(two)
    outcome = run_side_by_side(jobs, ["cpu"], 2)  # nothing is left to do, and no worker is started
    assert len(outcome.done) == 3


@pytest.mark.slow
def test_bad_input_and_a_dying_worker_fail_their_runs_alone(
    make_job: Callable[..., Job], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = make_job(row="good")
    jobs = [good, make_job(OTHER_CLASSES, row="classes"), make_job(row="deadly"), make_job(row="after", seed=2)]
    runs = [plan(job, Options(epochs=1)) for job in jobs]
    runs[2] = dataclasses.replace(runs[2], title=Deadly(runs[2].title))
    outcome = run_side_by_side(runs, ["cpu"], 1)
    assert outcome.done == [jobs[0].title, jobs[3].title]
    assert outcome.failed == [jobs[1].title, jobs[2].title]
    lines = capsys.readouterr().out.splitlines()
    assert any("head of 7 classes" in line for line in lines)
    assert any("its process ended with code 9" in line for line in lines)


@pytest.mark.slow
def test_a_run_may_have_processes_of_its_own(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loaders of mmseg's pipelines."""
    code = f"""
import os, torch
if os.getpid() != {os.getpid()}:  # in the worker, not where the run is planned
    loaded = len(list(torch.utils.data.DataLoader([1, 2], num_workers=1)))
    open({str(tmp_path / "loaded")!r}, "w").write(str(loaded))
"""
    (tmp_path / "with_loader.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    job = make_job(f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\ncustom_imports = dict(imports=["with_loader"])\n')
    outcome = run_side_by_side([plan(job, Options(epochs=1))], ["cpu"], 1)
    assert outcome.done == [job.title], outcome
    assert (tmp_path / "loaded").read_text() == "2"


class Thread(threading.Thread):
    """A worker in this process, for what needs no process of its own."""

    def terminate(self) -> None:
        pass


def test_bad_input_of_the_first_run_stops_all(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    def start(device: str) -> workers._Worker:
        ours, theirs = multiprocessing.Pipe()
        thread = Thread(target=lambda: theirs.send(try_run(theirs.recv(), DataCache())))
        thread.start()
        return workers._Worker(thread, ours, device)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "_start", start)
    jobs = [make_job(OTHER_CLASSES, row="classes", seed=seed) for seed in (1, 2, 3)]
    with pytest.raises(InputError, match="head of 7 classes"):
        run_side_by_side([plan(job, Options(epochs=1)) for job in jobs], ["cpu"], 2)


def start_two_runs(work_dir: Path, epochs: int) -> subprocess.Popen[str]:
    """A suite's command with two runs side by side, in a process group of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--suite", "digits", "--only", "baseline", "sar"]
    command += ["--seeds", "1", "--epochs", str(epochs), "--jobs-per-device", "2"]
    command += ["--work-dir", str(work_dir), "--device", "cpu"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Until it holds, at most so long; what follows asserts that it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_ends_all_and_the_same_command_goes_on(tmp_path: Path) -> None:
    process = start_two_runs(tmp_path, 400)
    try:
        wait_for(lambda: len(list(tmp_path.rglob("last.pth"))) >= 2 or process.poll() is not None, 200)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, error
    assert error.strip().splitlines()[-1].startswith("interrupted")
    # Python's own helper process notices the end of the others a moment later.
    wait_for(lambda: not group_is_there(process.pid), 30)
    assert not group_is_there(process.pid)
    assert not list(tmp_path.rglob("record.json"))
    assert len(list(tmp_path.rglob("last.pth"))) == 2


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process = start_two_runs(tmp_path, 4000)
    try:
        wait_for(lambda: len(list(tmp_path.rglob("last.pth"))) >= 2 or process.poll() is not None, 200)
        os.kill(process.pid, signal.SIGKILL)
        # Until the last process that holds a pipe is gone. Two runs of 4000 epochs would not end by themselves.
        _, error = process.communicate(timeout=60)
        assert "Traceback" not in error
        assert not list(tmp_path.rglob("error.log"))
        wait_for(lambda: not group_is_there(process.pid), 30)
        assert not group_is_there(process.pid)
    finally:
        if group_is_there(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
