"""One run and the line that says how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError, RunFailed, RunLocked
from sar_cls.launch import attempt
from sar_cls.launch.attempt import finished_before, run_or_fail, try_run
from sar_cls.launch.outcome import Attempt
from sar_cls.runs.folder import ERROR_LOG
from sar_cls.suites.rows import Source


@pytest.fixture
def planned(tmp_path: Path) -> PlannedRun:
    job = Job("s", "row", Source(CONFIGS / "digits" / "baseline.py"), 1, tmp_path / "run", title="[1/2] s/row seed 1")
    return plan(job, Options())


def ends_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(*_: Any) -> None:
        raise error

    monkeypatch.setattr(attempt, "run_planned", run)


@pytest.mark.parametrize(
    ("error", "end", "line", "refused", "logged"),
    [
        (InputError("no data"), "failed", "{}: no data", "no data", False),
        (RunLocked("held"), "locked", "held", "", False),
        (RunFailed("out of memory"), "failed", "{}: out of memory (all of it in", "", True),
        (RuntimeError("two\nlines"), "failed", "{}: failed, RuntimeError: two (all of it in", "", True),
        (ValueError(), "failed", "{}: failed, ValueError (all of it in", "", True),
        (OSError(28, "No space left", "a.pth"), "failed", "{}: failed, a.pth: the disk is full", "", True),
    ],
)
def test_each_end(
    planned: PlannedRun,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    end: str,
    line: str,
    refused: str,
    logged: bool,
) -> None:
    ends_with(monkeypatch, error)
    found = try_run(planned, DataCache())
    assert (found.title, found.end, found.refused, found.before) == (planned.title, end, refused, False)
    assert found.line.startswith(line.format(planned.title))
    assert "\n" not in found.line
    assert (planned.run_dir / ERROR_LOG).is_file() == logged
    if logged:
        assert "Traceback" in (planned.run_dir / ERROR_LOG).read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interruption_is_none(planned: PlannedRun, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    ends_with(monkeypatch, error)
    with pytest.raises(type(error)):
        try_run(planned, DataCache())


def test_done(planned: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"metrics": {"last": {"top1": 12.345}}}
    monkeypatch.setattr(attempt, "run_planned", lambda *_: record)
    assert run_or_fail(planned) is record
    assert try_run(planned, DataCache()) == Attempt(planned.title, "done", f"{planned.title}: top-1 12.35 %, 0:00")


def test_what_another_process_has_finished_meanwhile_is_not_said_to_be_run(
    planned: PlannedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "finished", lambda *_: {})
    monkeypatch.setattr(attempt, "run_planned", lambda *_: pytest.fail("it ran again"))
    found = try_run(planned, DataCache())
    assert found == Attempt(planned.title, "done", f"{planned.title}: finished before", before=True)


@pytest.mark.parametrize("found", [None, {}])
def test_finished_before(planned: PlannedRun, monkeypatch: pytest.MonkeyPatch, found: dict | None) -> None:
    monkeypatch.setattr(attempt, "finished", lambda *_: found)
    expected = Attempt(planned.title, "done", f"{planned.title}: finished before", before=True)
    assert finished_before(planned, DataCache()) == (None if found is None else expected)


def test_another_finished_run_in_its_place_is_refused(planned: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*_: Any) -> None:
        raise InputError("of another recipe")

    monkeypatch.setattr(attempt, "finished", other)
    found = finished_before(planned, DataCache())
    assert found == Attempt(planned.title, "failed", f"{planned.title}: of another recipe", refused="of another recipe")
