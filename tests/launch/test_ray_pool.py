"""Runs on a Ray cluster: three nodes on this machine, one of them killed; with and without a shared folder."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.errors import InputError
from sar_cls.launch import ray_cluster
from sar_cls.launch.ray_pool import run_on_ray
from sar_cls.launch.serial import run_serially
from sar_cls.runs import folder
from sar_cls.runs.record import is_finished, read_record

from .conftest import Three

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ADJUSTED = f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="logit_adjustment", tau=1.0)\n'
ADJUSTED += "train_cfg = dict(max_epochs=0)\n"
LONG = TINY.replace("max_epochs=2", "max_epochs=40").replace("T_max=2", "T_max=40")


def logits(run_dir: Path) -> bytes:
    with np.load(run_dir / "test_outputs.npz") as file:
        return file["logits"].tobytes()


def runs_in(work_dir: Path, make_job: Callable[..., Job], text: str, number: int) -> list[PlannedRun]:
    jobs = [
        make_job(text, row="long", seed=seed, run_dir=work_dir / "tiny" / "long" / f"seed{seed}")
        for seed in range(number)
    ]
    return [plan(job, Options(threads=1)) for job in jobs]


@pytest.mark.parametrize("sync", [False, True])
def test_a_node_is_killed_and_all_records_arrive_as_in_a_serial_run(
    three: Three, make_job: Callable[..., Job], tmp_path: Path, sync: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, together = (runs_in(tmp_path / name, make_job, LONG, 2) for name in ("alone", "together"))
    run_serially(alone)
    three.complete()
    killed = three.nodes.pop()
    killed_in_the_middle: list[bool] = []

    def kill() -> None:
        """As soon as each run has a checkpoint: so the one on the killed node has one."""
        end = time.monotonic() + 300
        while time.monotonic() < end and not all((run.run_dir / folder.LAST).exists() for run in together):
            time.sleep(0.05)
        killed_in_the_middle.append(not any(is_finished(run.run_dir) for run in together))
        three.cluster.remove_node(killed, allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    outcome = run_on_ray(together, tmp_path / "together", device="cpu", sync=sync, seconds=0.2)
    thread.join()
    printed = capsys.readouterr()
    assert sorted(outcome.done) == sorted(run.title for run in together), printed.out + printed.err
    assert killed_in_the_middle == [True]
    assert "its node or process is lost, started again" in printed.err
    for one, other in zip(alone, together, strict=True):
        assert logits(one.run_dir) == logits(other.run_dir)
        first, second = (read_record(run.run_dir)["metrics"] for run in (one, other))
        assert first == second


def test_what_another_process_is_at_is_passed_over(three: Three, make_job: Callable[..., Job], tmp_path: Path) -> None:
    """A second driver on the work directory is such a process."""
    three.complete()
    for sync in (False, True):
        held, free = runs_in(tmp_path / str(sync), make_job, TINY, 2)
        held.run_dir.mkdir(parents=True)
        with folder.lock(held.run_dir):
            outcome = run_on_ray([held, free], tmp_path / str(sync), device="cpu", sync=sync)
        assert (outcome.locked, outcome.done, outcome.failed) == ([held.title], [free.title], [])


def test_a_second_stage_whose_first_another_process_is_at_is_passed_over(
    three: Three, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    three.complete()
    first = make_job(TINY, row="first")
    job = make_job(ADJUSTED, row="second", stage1_dir=first.run_dir)
    first.run_dir.mkdir(parents=True)
    for sync in (False, True):
        second = plan(dataclasses.replace(job, run_dir=tmp_path / str(sync) / "tiny" / "second" / "seed1"), Options())
        with folder.lock(first.run_dir):
            outcome = run_on_ray([second], tmp_path / str(sync), device="cpu", sync=sync)
        assert (outcome.locked, outcome.done, outcome.failed) == ([second.title], [], [])


def test_nodes_that_do_not_fit_are_refused_in_one_sentence(
    three: Three, make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.complete()
    (planned,) = runs_in(tmp_path / "work", make_job, TINY, 1)
    ours = ray_cluster.own_versions()
    with monkeypatch.context() as patch:
        patch.setattr(ray_cluster, "own_versions", lambda: ours | {"torch": "1.0"})
        with pytest.raises(
            InputError, match=r"node .* has torch .* and this machine 1.0: install the same on all nodes"
        ):
            run_on_ray([planned], tmp_path / "work", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(ray_cluster.Path, "touch", lambda path: None)  # as if it were written on another machine
        with pytest.raises(
            InputError, match=r"does not see .*work: name a --work-dir that all nodes share, or add --sync"
        ):
            run_on_ray([planned], tmp_path / "work", device="cpu")
    with pytest.raises(InputError, match="no node of the cluster has the CPUs of one run"):
        run_on_ray([planned.on(threads=64)], tmp_path / "work", device="cpu")
    assert not (tmp_path / "work").exists()
