"""Several processes make one run: what they print, what they leave, and what becomes of it when one of them dies."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch.distributed

from engine.started_team import Start, started
from sar_cls.runs.record import is_finished, read_record

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not hasattr(os, "fork"), reason="needs gloo and forks"
)
# An epoch of these rows is 9 steps.
# On the CPU: a machine with one GPU has no device for each process.
RUN = ["run", "--device", "cpu", "--suite", "digits_lt", "--seed", "1024", "--epochs", "2", "--only"]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """``start(arguments, processes=2, kill=dict(rank=1, step=12))`` runs a command and waits for its end."""
    with started() as run:
        yield run


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that two processes made without interruption."""
    work = tmp_path_factory.mktemp("whole")
    ended = start([*RUN, "mixup_sar", "--work-dir", str(work)])
    assert ended.codes == [0, 0], ended.texts
    assert "top-1" in ended.texts[0]
    assert ended.texts[1] == ""
    return work / "digits_lt" / "mixup_sar" / "seed1024-epochs2"


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


def logits(run: Path) -> np.ndarray:
    with np.load(run / "test_outputs.npz") as file:
        return np.stack([file["logits"], file["logits_best"]])


def assert_same(run: Path, other: Path) -> None:
    assert history(run) == history(other)
    assert np.array_equal(logits(run), logits(other))
    assert read_record(run)["metrics"] == read_record(other)["metrics"]


def folder(work: Path, row: str = "mixup_sar") -> Path:
    return work / "digits_lt" / row / "seed1024-epochs2"


def test_the_record_says_who_has_trained(whole: Path) -> None:
    assert read_record(whole)["extra"]["distributed"] == {
        "processes": 2,
        "batch_per_process": 32,
        "sync_bn": False,
        "batch_norm_images": 32,
        "local_statistics": False,
    }
    assert [row["images"] for row in history(whole)] == ["531", "531"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_run_goes_on_after_a_kill(rank: int, whole: Path, start: Start, tmp_path: Path) -> None:
    """In the second epoch; nobody waits for ever, without torchrun to end the others."""
    command = [*RUN, "mixup_sar", "--work-dir", str(tmp_path)]
    killed = start(command, kill={"rank": rank, "step": 12})
    assert killed.codes == ([-9, 1] if rank == 0 else [1, -9])
    if rank == 1:
        assert killed.texts[0].count("another process of the run is gone") == 1
        assert "Traceback" not in killed.texts[0]
    assert killed.texts[1] == ""
    assert (folder(tmp_path) / "last.pth").exists()
    assert not is_finished(folder(tmp_path))
    assert start(command).codes == [0, 0]
    assert_same(folder(tmp_path), whole)


@pytest.mark.slow
def test_synchronised_batch_norm_is_like_one_process(start: Start, tmp_path: Path) -> None:
    """And it may go on with another number of processes, which without it would be another net."""
    assert start([*RUN, "mixup_sar", "--work-dir", str(tmp_path / "one")], processes=1).codes == [0]
    command = [*RUN, "mixup_sar", "--sync-bn", "--work-dir"]
    assert start([*command, str(tmp_path / "two")], kill={"rank": 1, "step": 12}).codes == [1, -9]
    assert start([*command, str(tmp_path / "two")], processes=1).codes == [0]
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    for row, other in zip(history(one), history(two), strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)
    assert np.allclose(logits(one), logits(two), atol=1e-3)
    assert read_record(two)["extra"]["distributed"]["processes_used"] == [2, 1]
    assert "distributed" not in read_record(one)["extra"]


@pytest.mark.slow
def test_batch_norm_of_parts_wants_as_many_processes_as_before(start: Start, tmp_path: Path) -> None:
    command = [*RUN, "mixup_sar", "--work-dir", str(tmp_path)]
    assert start(command, kill={"rank": 1, "step": 12}).codes == [1, -9]
    refused = start(command, processes=1)
    assert refused.codes == [2]
    assert "batch norm saw 32 images at a time so far and would see 64" in refused.texts[0]


@pytest.mark.slow
def test_statistics_of_parts_want_the_same_parts_as_before(start: Start, tmp_path: Path) -> None:
    command = [*RUN, "mixup_sar", "--sync-bn", "--work-dir", str(tmp_path)]
    local = [*command, "--local-statistics"]
    assert start(local, kill={"rank": 1, "step": 12}).codes == [1, -9]
    for arguments, processes in ((command, 2), (command, 1), (local, 1)):
        refused = start(arguments, processes=processes)
        assert refused.codes == [2] * processes
        words = "statistics over each of 2 parts of a batch so far and would take them over the whole batch"
        assert words in refused.texts[0]
    assert start(local).codes == [0, 0]
    assert read_record(folder(tmp_path))["extra"]["distributed"]["local_statistics"]
    finished = start(command)
    assert finished.codes == [2, 2]
    assert "over 1/2 of a batch, and now it would be 1/1" in finished.texts[0]


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_fails_alone_ends_all(rank: int, start: Start, tmp_path: Path) -> None:
    """The others wait for it inside a step. One sentence says why."""
    ended = start([*RUN, "mixup", "mixup_sar", "--work-dir", str(tmp_path)], fail={"rank": rank, "step": 3})
    assert ended.codes == [1, 1]
    assert ended.texts[rank].count("failed, RuntimeError: the test wants it so") == 1
    assert f"process {rank} of 2" in ended.texts[rank]
    assert "failed" not in ended.texts[1 - rank]
    assert "Traceback" not in "".join(ended.texts)
    log = folder(tmp_path, "mixup") / "error.log"
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_the_first_process_says_what_it_hears_of_another(start: Start, tmp_path: Path) -> None:
    """An error before the net is wrapped ends the connections at once, and the first process with them: it has to say why."""
    ended = start([*RUN, "mixup", "mixup_sar", "--work-dir", str(tmp_path)], fail={"rank": 1, "step": 0})
    assert ended.codes == [1, 1]
    assert ended.texts[0].count("process 1 of 2: failed, RuntimeError: the test wants it so (all of it in ") == 1
    assert ended.texts[1] == ""
    assert "Traceback" not in ended.texts[0]
    log = folder(tmp_path, "mixup") / "error.log"
    assert "RuntimeError: the test wants it so" in log.read_text(encoding="utf-8")


def test_a_failure_of_all_fails_the_run_alone(start: Start, tmp_path: Path) -> None:
    """What all processes have in common is the run's, and the next run of the suite is trained by the same processes."""
    ended = start([*RUN, "mixup", "mixup_sar", "--work-dir", str(tmp_path)], fail={"rank": "all", "step": 3})
    assert ended.codes == [1, 1]
    assert ended.texts[0].count("failed, RuntimeError: the test wants it so") == 1
    assert ended.texts[1] == ""
    assert not is_finished(folder(tmp_path, "mixup"))
    assert is_finished(folder(tmp_path))


@pytest.mark.slow
def test_both_stages_and_a_correction(start: Start, tmp_path: Path) -> None:
    """A second stage that trains is shared, one that trains nothing is the first process's alone."""
    ended = start([*RUN, "mixup_sar", "mixup_sar_mislas", "--work-dir", str(tmp_path)])
    assert ended.codes == [0, 0], ended.texts
    second = read_record(next((tmp_path / "digits_lt" / "mixup_sar_mislas").iterdir()))
    assert second["extra"]["distributed"]["processes"] == 2
    assert second["stage1"]["run_id"] == read_record(folder(tmp_path))["run_id"]
    corrected = start(["stage2", "--stage1", str(folder(tmp_path)), "--method", "tau"])
    assert corrected.codes == [0, 0], corrected.texts
    assert corrected.texts[1] == ""


@pytest.mark.parametrize(
    ("arguments", "processes", "words"),
    [
        ([], 3, "batches of 64 images, which 3 processes cannot share evenly"),
        (["--mode", "cudagraph"], 2, "--mode cudagraph is for one process"),
        (["--jobs-per-device", "2"], 2, "torchrun starts the processes of one run"),
        (["--bn-batch", "16", "--sync-bn"], 2, "leave --sync-bn or bn_batch out"),
        (["--bn-batch", "24"], 2, "cannot be cut into virtual batches of 24"),
        (["--bogus"], 2, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    arguments: list[str], processes: int, words: str, start: Start, tmp_path: Path
) -> None:
    ended = start([*RUN, "mixup_sar", *arguments, "--work-dir", str(tmp_path / "work")], processes=processes)
    assert ended.codes == [2] * processes
    assert words in ended.texts[0]
    assert len(ended.texts[0].splitlines()) == 1
    assert not any(ended.texts[1:])
    assert not (tmp_path / "work").exists()


def test_finished_runs_need_nobody(whole: Path, start: Start) -> None:
    ended = start([*RUN, "mixup_sar", "--work-dir", str(whole.parents[2])])
    assert ended.codes == [0, 0]
    assert "finished before" in ended.texts[0]


PROGRAM = """
import os, signal, sys
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook
from sar_cls import exit_codes
from sar_cls.commands.run import main
from sar_cls.engine import team
from sar_cls.mm.runner import DeviceRunner

print("a start", file=sys.stderr)
steps, once = [], Path(__file__).with_name("has ended")
is_it = os.environ["RANK"] == "1" and not once.exists()
train = DeviceRunner.train

def killed(*_):
    steps.append(0)
    if len(steps) == 12 and is_it:
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)

def failing(runner):
    if is_it:
        raise RuntimeError("the test wants it so")
    return train(runner)

if WHAT == "fail":
    team.GRACE = 100.0  # however slow the machine is, torchrun ends the process within that time
    DeviceRunner.train = failing
else:
    register_optimizer_step_post_hook(killed)
exit_codes.main_with_exit_code(main)
"""


TWO = ("--nproc-per-node", "2")


def under_torchrun(folder: Path, what: str, row: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The program itself; the second of two processes ends once."""
    program = folder / "program.py"
    program.write_text(PROGRAM.replace("WHAT", repr(what)), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", *(options or TWO)]
    command = [*torchrun, str(program), *RUN[1:], row, "--work-dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=environment)


@pytest.mark.slow
def test_torchrun_starts_it_again(whole: Path, tmp_path: Path) -> None:
    """One process is killed, the others are ended, all are started anew and go on."""
    ended = under_torchrun(tmp_path, "kill", "mixup_sar", *TWO, "--max-restarts", "1")
    assert ended.returncode == 0, ended.stderr
    assert "resuming" in ended.stderr
    assert_same(folder(tmp_path), whole)


@pytest.mark.slow
def test_machines_may_count_restarts_differently(whole: Path, tmp_path: Path) -> None:
    """Two torchruns, as on two machines: the one whose process is killed counts a restart, the other one need not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machine = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test"]
    machine += ["--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1", "--max-restarts", "4"]
    with ThreadPoolExecutor(2) as machines:
        both = [machines.submit(under_torchrun, tmp_path, "kill", "mixup_sar", *machine) for _ in range(2)]
    ended = [one.result() for one in both]
    assert [one.returncode for one in ended] == [0, 0], ended
    assert "resuming" in "".join(one.stderr for one in ended)
    assert [one.stderr.count("a start\n") for one in ended] == [2, 2]  # nobody has waited at another place in vain
    assert_same(folder(tmp_path), whole)


@pytest.mark.slow
def test_torchrun_ends_no_process_before_it_is_said_why(tmp_path: Path) -> None:
    """It kills all as soon as one has ended, the one that has failed included."""
    ended = under_torchrun(tmp_path, "fail", "mixup")
    assert ended.returncode == 1
    assert ended.stderr.count("process 1 of 2: failed, RuntimeError: the test wants it so") == 1, ended.stderr
    log = folder(tmp_path, "mixup") / "error.log"
    assert "RuntimeError: the test wants it so" in log.read_text(encoding="utf-8")
