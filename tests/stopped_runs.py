"""Runs that are stopped on the way, to be gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.mm import checkpoint


def stop_after(epoch: int, job: Job, cache: DataCache, options: Options | None = None) -> None:
    """Trains to the end of an epoch and no further, as Ctrl-C would."""
    with pytest.MonkeyPatch.context() as patch:
        after_epoch = checkpoint.AtomicCheckpointHook.after_epoch

        def stop(self: object, runner: Any, row: dict) -> None:
            after_epoch(self, runner, row)
            if row["epoch"] == epoch:
                raise KeyboardInterrupt

        patch.setattr(checkpoint.AtomicCheckpointHook, "after_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.run(job, options or Options(), cache)
