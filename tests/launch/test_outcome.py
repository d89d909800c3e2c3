"""The policy: what becomes of a suite when one of its runs fails, is refused or is held, whoever launches it."""

from __future__ import annotations

import pytest

from sar_cls.errors import InputError
from sar_cls.launch.outcome import Attempt, Outcome

DONE = Attempt("a", "done", "a: top-1")
BEFORE = Attempt("b", "done", "b: finished before", before=True)
FAILED = Attempt("c", "failed", "c: failed")
LOCKED = Attempt("d", "locked", "d: passed over")
REFUSED = Attempt("e", "failed", "e: no data", refused="no data")


@pytest.mark.parametrize("ended", [DONE, FAILED, LOCKED])
def test_a_refused_run_fails_alone_once_another_has_ended(ended: Attempt, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome()
    for attempt in (ended, REFUSED, DONE):
        outcome.add(attempt)
    assert outcome.failed[-1] == "e"
    assert outcome.done[-1] == "a"
    assert capsys.readouterr().out.splitlines() == [ended.line, "e: no data", "a: top-1"]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_before_that_it_stops_the_suite__finished_runs_do_not_count(
    before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome()
    for _ in range(before):
        outcome.add(BEFORE)
    with pytest.raises(InputError, match=r"^no data$"):
        outcome.add(REFUSED)
    assert (len(outcome.done), outcome.failed, outcome.locked) == (before, [], [])
    assert capsys.readouterr().out.count("\n") == before


def test_each_end_is_counted_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome()
    for attempt in (BEFORE, FAILED, LOCKED, DONE):
        outcome.add(attempt)
    assert (outcome.done, outcome.failed, outcome.locked, outcome.ended) == (["b", "a"], ["c"], ["d"], 3)
    assert len(capsys.readouterr().out.splitlines()) == 4
