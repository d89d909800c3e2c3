"""A run that SIGKILL ends at a chosen step, in a fork of the test's process, so that nothing is imported again."""

from __future__ import annotations

import os
import signal

from torch.optim.optimizer import register_optimizer_step_post_hook

from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job, run


def die_at_step(number: int) -> None:
    """SIGKILL right after the n-th update of the weights."""
    seen = iter(range(1, 10**9))

    def count(*_: object) -> None:
        if next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(count)


def killed(job: Job, options: Options, cache: DataCache, step: int) -> None:
    """Runs the job in a fork that SIGKILL ends right after its n-th update of the weights."""
    child = os.fork()
    if child == 0:
        try:
            die_at_step(step)
            run(job, options, cache)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
