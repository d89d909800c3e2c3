"""A process may open only so many files, and a suite has more runs than that."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_runs import TINY

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError

MakeJob = Callable[..., Job]
FEW = 6


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for FEW open files more than there are."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(max(used) + FEW + 2) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[FEW - 1] + 1, before[1]))
    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", lambda *_: None)  # mmengine asks for more at every start
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files as Linux does")
@pytest.mark.usefixtures("few_files")
class TestFewFiles:
    def test_runs_one_after_the_other(self, make_job: MakeJob, cache: DataCache) -> None:
        for seed in range(FEW + 2):
            engine.run(make_job(seed=seed), Options(epochs=1), cache)

    def test_runs_that_cannot_be_built(self, make_job: MakeJob, cache: DataCache) -> None:
        for number in range(FEW + 2):
            job = make_job(TINY + "weights = 'nothing/here.pth'\n", row=f"row{number}")
            with pytest.raises(InputError, match="there is no weight file"):
                engine.run(job, Options(epochs=1), cache)
            job = make_job(TINY + "model = dict(backbone=dict(depth=9))\n", row=f"net{number}")
            with pytest.raises(ValueError, match="6n"):
                engine.run(job, Options(epochs=1), cache)
