"""Out of memory is a sentence that says what was being allocated, and the other runs go on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_runs import TINY

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import RunFailed
from sar_cls.launch.serial import run_serially
from sar_cls.memory import allocating, is_out_of_memory

MakeJob = Callable[..., Job]
# More than any computer has, so no byte of it is ever taken.
HUGE = "model = dict(head=dict(regularizer=dict(type='SAR')), neck=dict(type='LinearNeck', in_channels=64, out_channels=2**46))\n"


def torch_cpu() -> None:
    torch.empty(2**55)


def numpy_array() -> None:
    np.empty(2**55)


def python_itself() -> None:
    raise MemoryError


def cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of ...")


@pytest.mark.parametrize(
    ("allocate", "amount"),
    [(torch_cpu, "128 PiB more"), (numpy_array, "256 PiB more"), (python_itself, ""), (cuda, "2.50 GiB more")],
)
def test_the_sentence(allocate: Callable[[], None], amount: str) -> None:
    with pytest.raises(RunFailed) as error, allocating("stacking images", "use fewer"):
        allocate()
    message = str(error.value)
    assert "memory while stacking images" in message
    assert amount in message
    assert message.endswith(": use fewer")
    assert len(message.splitlines()) == 1
    assert ("GPU" in message) == (allocate is cuda)


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("out of memory"), KeyError("x")])
def test_other_errors_pass(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), allocating("x", "y"):
        raise error


def test_a_run_too_large_fails_alone(
    make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Padding is in pixels: the padded batch is what does not fit.
    padded = "data_preprocessor = dict(padding=2**24)\n"
    jobs = [make_job(TINY + padded, row="image"), make_job(TINY + HUGE, row="net"), make_job(row="good")]
    outcome = run_serially([plan(job, Options(epochs=1)) for job in jobs])
    assert (outcome.failed, outcome.done) == ([jobs[0].title, jobs[1].title], [jobs[2].title])
    lines = capsys.readouterr().out.splitlines()
    image = next(line for line in lines if line.startswith(jobs[0].title))
    assert "out of memory while training CIFARResNet" in image
    assert "on batches of 64 images of 8x8" in image
    assert any(line.startswith(f"{jobs[1].title}: out of memory while building the network") for line in lines)


def test_code_that_ends_the_process_fails_its_run_alone(
    make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, execute = [make_job(row="one"), make_job(row="two")], engine.training.execute

    def leave(job: Job, *arguments: object) -> dict:
        if job.row == "one":
            raise SystemExit(0)
        return execute(job, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.training, "execute", leave)
    outcome = run_serially([plan(job, Options(epochs=1)) for job in jobs])
    assert (outcome.failed, outcome.done) == ([jobs[0].title], [jobs[1].title])
    assert "ended the run by sys.exit(0)" in capsys.readouterr().out
