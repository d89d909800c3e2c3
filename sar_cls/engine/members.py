"""What the scripts do in each of several processes that torchrun has started: the first one leads, the others follow."""

from __future__ import annotations

from torch import distributed

from sar_cls.engine import training
from sar_cls.engine.options import threads
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache, prepare
from sar_cls.engine.team import Ready, team


def follow() -> int:
    """Trains with the first process whatever it trains; returns its exit code."""
    me = team()
    assert me is not None, "this is one of several processes"
    cache = DataCache()

    def ready(asked: PlannedRun) -> Ready:
        planned, splits = prepare(asked, cache)

        def train() -> None:
            with threads(planned.options.threads):
                training.execute(planned, splits)

        return Ready(splits.fingerprints, planned.options.device, train)

    return me.follow(ready)


def dismiss(code: int) -> None:
    """Ends the other processes with this exit code."""
    try:
        me = team()
    except distributed.DistError:  # the place where the others would be met is gone, and so are they
        return
    assert me is not None, "this is one of several processes"
    me.dismiss(code)
