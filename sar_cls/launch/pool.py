"""Several runs at work at a time, wherever they are: the one loop of all launchers that have more than one place to run in.

It hands out what may start, in the given order, a second stage only when its first one is through; counts what ends by the
policy of :mod:`sar_cls.launch.outcome`; and shows how far all of it is. Where the runs are is the pool's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.launch.attempt import finished_before
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.launch.screen import Screen


class Pool(Protocol):
    """Places to run in: processes of this machine, jobs of a cluster."""

    def room(self) -> int:
        """How many more runs can be started now."""

    def start(self, planned: PlannedRun) -> None:
        """Starts a run."""

    def ended(self, screen: Screen) -> list[Attempt]:
        """Waits a while for something to happen; shows what the runs say, and returns those that have ended."""

    def close(self) -> None:
        """Ends what is still at work: it goes on from its last whole epoch next time."""


def run_in_pool(runs: Sequence[PlannedRun], open_pool: Callable[[Sequence[PlannedRun]], Pool]) -> Outcome:
    """Runs what is not finished yet.

    Args:
        runs: in their order, second stages behind their first ones.
        open_pool: is given the runs that are left to do, if there are any, and makes the pool.

    Raises:
        InputError: a run was refused before any had to be run and has ended.
    """
    outcome, cache = Outcome(), DataCache()
    waiting: list[PlannedRun] = []
    for planned in runs:
        before = finished_before(planned, cache)
        if before is None:
            waiting.append(planned)
        else:
            outcome.add(before)
    if not waiting:
        return outcome
    cache.sets.clear()
    active: dict[str, PlannedRun] = {}
    pool = open_pool(waiting)
    try:
        with Screen(len(waiting)) as screen:
            while waiting or active:
                for planned in _ready(waiting, active, pool.room()):
                    waiting.remove(planned)
                    active[planned.title] = planned
                    pool.start(planned)
                    screen.started(planned.title)
                for attempt in pool.ended(screen):
                    outcome.add(attempt)
                    del active[attempt.title]
                    screen.ended(attempt)
    finally:  # also on Ctrl-C
        pool.close()
    return outcome


def _ready(waiting: Sequence[PlannedRun], active: dict[str, PlannedRun], room: int) -> list[PlannedRun]:
    """The first runs that may start, at most as many as there is room for."""
    unfinished = {run.run_dir for run in (*waiting, *active.values())}
    return [run for run in waiting if run.stage1_dir not in unfinished][: max(0, room)]
