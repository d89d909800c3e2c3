"""Runs one after the other, and what happens when one of them cannot be run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
from tiny_runs import TINY, files_of

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.run import DataCache, Job, RunLocked
from sar_cls.errors import InputError
from sar_cls.launch import attempt
from sar_cls.launch.outcome import Outcome
from sar_cls.launch.serial import run_serially
from sar_cls.runs.record import RECORD_FILE
from sar_cls.suites.rows import Source

MakeJob = Callable[..., Job]


def run_jobs(jobs: list[Job], options: Options) -> Outcome:
    return run_serially([plan(job, options) for job in jobs])


class TestRunning:
    """``run_planned`` is replaced here: what matters is what becomes of its errors."""

    @pytest.fixture
    def ends(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
        """Row -> the error with which its run ends."""
        errors: dict[str, BaseException] = {}

        def run(planned: PlannedRun, cache: DataCache) -> dict[str, Any]:
            if planned.row in errors:
                raise errors[planned.row]
            return {"metrics": {"last": {"top1": 12.345}}}

        monkeypatch.setattr(attempt, "run_planned", run)
        return errors

    def runs(self, tmp_path: Path, rows: str) -> list[PlannedRun]:
        source = Source(CONFIGS / "digits" / "baseline.py")
        jobs = [Job("s", row, source, 1, tmp_path / row, title=f"title {row}") for row in rows]
        return [plan(job, Options()) for job in jobs]

    def test_all_done(self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = run_serially(self.runs(tmp_path, "abc"))
        assert outcome.done == ["title a", "title b", "title c"]
        assert (outcome.failed, outcome.locked) == ([], [])
        assert "title b: top-1 12.35 %, 0:00" in capsys.readouterr().out

    @pytest.mark.parametrize("position", "abc")
    def test_a_failing_run_leaves_the_others(
        self, tmp_path: Path, ends: dict, position: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ends[position] = RuntimeError("out of memory")
        outcome = run_serially(self.runs(tmp_path, "abc"))
        assert outcome.failed == [f"title {position}"]
        assert len(outcome.done) == 2
        log = tmp_path / position / "error.log"
        assert "Traceback" in log.read_text()
        printed = capsys.readouterr().out
        assert f"title {position}: failed, RuntimeError: out of memory" in printed
        assert str(log) in printed

    def test_an_error_whose_log_cannot_be_written(
        self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ends["b"] = OSError(28, "No space left on device")
        (tmp_path / "b").write_text("a file where the folder should be")
        outcome = run_serially(self.runs(tmp_path, "abc"))
        assert (outcome.done, outcome.failed) == (["title a", "title c"], ["title b"])
        assert "no error.log could be written" in capsys.readouterr().out

    def test_bad_input_of_the_first_run_stops_all(self, tmp_path: Path, ends: dict) -> None:
        ends["a"] = InputError("no data here")
        with pytest.raises(InputError, match="no data here"):
            run_serially(self.runs(tmp_path, "abc"))

    def test_bad_input_of_a_later_run_fails_it_alone(
        self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ends["b"] = InputError("no data here")
        outcome = run_serially(self.runs(tmp_path, "abc"))
        assert (outcome.done, outcome.failed) == (["title a", "title c"], ["title b"])
        assert "title b: no data here" in capsys.readouterr().out
        assert not (tmp_path / "b").exists()

    def test_a_locked_run_is_passed_over(self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]) -> None:
        ends["a"] = RunLocked("title a: another process is at this run, passed over")
        outcome = run_serially(self.runs(tmp_path, "abc"))
        assert (outcome.done, outcome.failed, outcome.locked) == (["title b", "title c"], [], ["title a"])
        assert "title a: another process is at this run, passed over" in capsys.readouterr().out

    def test_ctrl_c_ends_the_suite(self, tmp_path: Path, ends: dict) -> None:
        ends["b"] = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            run_serially(self.runs(tmp_path, "abc"))


class TestForReal:
    def test_finished_runs_are_skipped(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job()
        engine.run(job, Options(epochs=1), cache)
        before = files_of(job.run_dir)
        monkeypatch.setattr(engine.training, "execute", lambda *_: pytest.fail("it ran again"))
        outcome = run_jobs([job], Options(epochs=1))
        assert outcome.done == [job.title]
        assert f"{job.title}: finished before" in capsys.readouterr().out
        assert engine.run(job, Options(epochs=1))["run_id"] == json.loads(before[RECORD_FILE])["run_id"]
        assert files_of(job.run_dir) == before

    def test_a_damaged_record_is_no_finished_run(self, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job()
        first = engine.run(job, Options(epochs=1), cache)
        (job.run_dir / RECORD_FILE).write_text("{ half")
        again = engine.run(job, Options(epochs=1), cache)
        assert again["metrics"] == first["metrics"]
        assert (
            again["run_id"] == first["run_id"]
        )  # its weights are the same: a second stage that started from them stays

    def test_a_locked_run_is_left_alone(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str]
    ) -> None:
        locked, free = make_job(row="locked"), make_job(row="free")
        locked.run_dir.mkdir(parents=True)
        with filelock.FileLock(locked.run_dir / ".lock"):
            with pytest.raises(RunLocked, match="another process is at this run, passed over"):
                engine.run(locked, Options(epochs=1), cache)
            outcome = run_jobs([locked, free], Options(epochs=1))
            assert (outcome.locked, outcome.done, outcome.failed) == ([locked.title], [free.title], [])
            assert files_of(locked.run_dir) == {}
        assert f"{locked.title}: another process is at this run, passed over" in capsys.readouterr().out
        assert run_jobs([locked, free], Options(epochs=1)).done == [locked.title, free.title]

    def test_a_second_stage_waits_for_a_locked_first_one(self, make_job: MakeJob, cache: DataCache) -> None:
        first = make_job(row="first")
        second = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n', row="second", stage1_dir=first.run_dir)
        first.run_dir.mkdir(parents=True)
        options = Options(epochs=1, stage2_epochs=1)
        with filelock.FileLock(first.run_dir / ".lock"):
            outcome = run_jobs([first, second], options)
            assert (outcome.locked, outcome.failed) == ([first.title, second.title], [])
            assert not second.run_dir.exists()
        assert run_jobs([first, second], options).done == [first.title, second.title]

    def test_a_second_stage_of_a_failed_first_one_fails(self, make_job: MakeJob, cache: DataCache) -> None:
        bad = TINY + "optim_wrapper = dict(optimizer=dict(lr=1e30))\n"
        first = make_job(bad, row="first")
        second = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n', row="second", stage1_dir=first.run_dir)
        outcome = run_jobs([first, second], Options(epochs=1))
        assert (outcome.failed, outcome.done) == ([first.title, second.title], [])

    def test_a_failed_run_can_be_started_again(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, execute = make_job(), engine.training.execute
        monkeypatch.setattr(engine.training, "execute", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError) as error:
            engine.run(job, Options(epochs=1), cache)
        monkeypatch.setattr(engine.training, "execute", execute)
        engine.run(job, Options(epochs=1), cache)  # the lock is free although the traceback is still held
        assert error.value.__traceback__ is not None

    def test_bad_input_leaves_no_folder(self, make_job: MakeJob, tmp_path: Path) -> None:
        job = make_job('_base_ = "' + str(CONFIGS / "cifar100" / "resnet18.py") + '"\n')
        with pytest.raises(InputError, match="cifar100"):
            run_jobs([job], Options(data_root=str(tmp_path / "nothing")))
        assert not job.run_dir.exists()
        wrong = make_job(TINY + "model = dict(head=dict(num_classes=11))\n")
        with pytest.raises(InputError, match="a head of 11 classes and the data has 10"):
            run_jobs([wrong], Options())
        assert not wrong.run_dir.exists()
