"""The loop that all pools share: what is handed out when, what is counted, and that everything is closed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.errors import InputError
from sar_cls.launch import pool
from sar_cls.launch.outcome import Attempt
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.screen import Screen
from sar_cls.suites.rows import Source


class Places:
    """Some places; what runs in them ends one at a time, the first handed out first, as ``ends`` says."""

    def __init__(self, runs: Sequence[PlannedRun], number: int, ends: dict[str, Attempt]) -> None:
        self.left, self.number, self.ends = [run.title for run in runs], number, ends
        self.active: list[str] = []
        self.log: list[str] = []
        self.closed = False

    def room(self) -> int:
        return self.number - len(self.active)

    def start(self, planned: PlannedRun) -> None:
        self.active.append(planned.title)
        self.log.append(f"+{planned.title}")
        assert len(self.active) <= self.number

    def ended(self, screen: Screen) -> list[Attempt]:
        if not self.active:
            return []
        title = self.active.pop(0)
        self.log.append(f"-{title}")
        found = self.ends.get(title, Attempt(title, "done", f"{title}: top-1"))
        if isinstance(found, BaseException):
            raise found
        return [found]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    """a, b, then c after a, d."""
    source, second = Source(CONFIGS / "digits_lt" / "mixup.py"), Source(CONFIGS / "digits_lt" / "mislas.py")
    jobs = [Job("s", name, source, 1, tmp_path / name, title=name) for name in "ab"]
    jobs.append(Job("s", "c", second, 1, tmp_path / "c", tmp_path / "a", "c"))
    jobs.append(Job("s", "d", source, 1, tmp_path / "d", title="d"))
    return [plan(job, Options()) for job in jobs]


@pytest.mark.parametrize(
    ("number", "log"),
    [
        (1, "+a -a +b -b +c -c +d -d"),
        (2, "+a +b -a +c -b +d -c -d"),  # c as soon as a is through
        (4, "+a +b +d -a +c -b -d -c"),  # and never before it
    ],
)
def test_in_order_as_far_as_there_is_room(
    runs: list[PlannedRun], number: int, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Places(runs, number, {})
    outcome = run_in_pool(runs, lambda left: places)
    assert " ".join(places.log) == log
    assert sorted(outcome.done) == ["a", "b", "c", "d"]
    assert places.closed
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert [line.split(",")[0] for line in printed.err.splitlines()] == [f"{n} of 4 runs" for n in (1, 2, 3)]


def test_a_failed_run_leaves_the_others(runs: list[PlannedRun]) -> None:
    outcome = run_in_pool(runs, lambda left: Places(left, 2, {"b": Attempt("b", "failed", "b: failed")}))
    assert (outcome.failed, sorted(outcome.done)) == (["b"], ["a", "c", "d"])


def test_the_first_refusal_stops_all_and_closes(runs: list[PlannedRun]) -> None:
    places = Places(runs, 2, {"a": Attempt("a", "failed", "a: no data", refused="no data")})
    with pytest.raises(InputError, match=r"^no data$"):
        run_in_pool(runs, lambda left: places)
    assert places.closed
    assert places.log == ["+a", "+b", "-a"]


def test_ctrl_c_closes(runs: list[PlannedRun]) -> None:
    places = Places(runs, 2, {"b": KeyboardInterrupt()})  # type: ignore[dict-item]
    with pytest.raises(KeyboardInterrupt):
        run_in_pool(runs, lambda left: places)
    assert places.closed


def test_what_is_finished_needs_no_place(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    done = Attempt("a", "done", "a: finished before", before=True)
    monkeypatch.setattr(pool, "finished_before", lambda planned, _: done if planned.title == "a" else None)
    seen: list[list[str]] = []

    def open_pool(left: Sequence[PlannedRun]) -> Places:
        seen.append([run.title for run in left])
        return Places(left, 1, {})

    assert sorted(run_in_pool(runs, open_pool).done) == ["a", "b", "c", "d"]
    assert seen == [["b", "c", "d"]]
    monkeypatch.setattr(
        pool, "finished_before", lambda planned, _: Attempt(planned.title, "done", planned.title, before=True)
    )
    run_in_pool(runs, lambda left: pytest.fail("a pool for nothing"))
