"""Many runs in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.launch.attempt import try_run
from sar_cls.launch.outcome import Outcome


def run_serially(runs: Sequence[PlannedRun]) -> Outcome:
    """Runs what is not finished yet, in the given order, by the policy of :mod:`sar_cls.launch.outcome`.

    Raises:
        InputError: a run was refused before any had to be run and has ended.
    """
    outcome, cache = Outcome(), DataCache()
    for planned in runs:
        outcome.add(try_run(planned, cache))
    return outcome
