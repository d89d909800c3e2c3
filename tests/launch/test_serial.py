"""Suites of runs: which, in which order, and what happens when one of them cannot be run."""

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
from sar_cls.engine.run import DataCache, Job, RunLocked
from sar_cls.errors import InputError
from sar_cls.launch import serial as suite
from sar_cls.launch.serial import make_jobs, run_jobs
from sar_cls.runs.record import RECORD_FILE
from sar_cls.suites.rows import Source, load_suite, select_rows

MakeJob = Callable[..., Job]
SEEDS = [1270964153, 1024]


def jobs_of(name: str, work_dir: Path, options: Options | None = None, only: list[str] | None = None) -> list[Job]:
    rows = select_rows(load_suite(CONFIGS, name), only)
    return make_jobs(rows, SEEDS, options or Options(), work_dir)


class TestJobs:
    def test_seed_by_seed_in_the_order_of_the_table(self, tmp_path: Path) -> None:
        jobs = jobs_of("digits_lt", tmp_path)
        rows = ["mixup", "mixup_sar", "mixup_mislas", "mixup_sar_mislas"]
        assert [(job.seed, job.row) for job in jobs] == [(seed, row) for seed in SEEDS for row in rows]
        assert jobs[0].title == "[1/8] digits_lt/mixup seed 1270964153"
        assert jobs[-1].title == "[8/8] digits_lt/mixup_sar_mislas seed 1024"
        assert {job.suite for job in jobs} == {"digits_lt"}

    def test_a_second_stage_follows_the_first_stage_of_its_row_and_seed(self, tmp_path: Path) -> None:
        jobs = jobs_of("digits_lt", tmp_path)
        folders = [job.run_dir for job in jobs]
        for index, job in enumerate(jobs):
            expected = job.row.removesuffix("_mislas")
            if expected == job.row:
                assert job.stage1_dir is None
            else:
                assert job.stage1_dir == tmp_path / "digits_lt" / expected / f"seed{job.seed}"
                assert folders.index(job.stage1_dir) < index
                assert job.source.config == CONFIGS / "digits_lt" / "mislas.py"
        assert len(set(folders)) == len(folders)

    def test_included_suites_come_along(self, tmp_path: Path) -> None:
        jobs = [job for job in jobs_of("digits", tmp_path) if job.seed == SEEDS[0]]
        assert [job.suite for job in jobs] == ["digits"] * 5 + ["digits_lt"] * 4
        assert jobs[0].run_dir == tmp_path / "digits" / "baseline" / "seed1270964153"

    def test_a_row_of_another_suite_is_run_where_that_suite_runs_it(self, tmp_path: Path) -> None:
        """So a run that the other suite has made is not made again, and a second stage finds its first one there."""
        only = ["mixup_mislas", "mixup_sar_logit_adjustment"]
        jobs = {job.row: job for job in jobs_of("ablation_digits_lt", tmp_path, only=only) if job.seed == 1024}
        theirs = {job.row: job for job in jobs_of("digits_lt", tmp_path) if job.seed == 1024}
        for row in ("mixup", "mixup_sar", "mixup_mislas"):
            assert (jobs[row].run_dir, jobs[row].source) == (theirs[row].run_dir, theirs[row].source)
        own = jobs["mixup_sar_logit_adjustment"]
        assert own.run_dir == tmp_path / "ablation_digits_lt" / "mixup_sar_logit_adjustment" / "seed1024"
        assert own.stage1_dir == theirs["mixup_sar"].run_dir

    @pytest.mark.parametrize(
        ("options", "first", "second"),
        [
            (Options(), "seed1024", "seed1024"),
            (Options(epochs=20), "seed1024", "seed1024"),  # the recipe's own number
            (Options(epochs=3), "seed1024-epochs3", "seed1024-epochs3"),
            (Options(stage2_epochs=2), "seed1024", "seed1024-then2"),
            (Options(epochs=3, stage2_epochs=2), "seed1024-epochs3", "seed1024-epochs3-then2"),
            (Options(full_epochs=True), "seed1024", "seed1024-full"),
            (Options(imbalance=10), "seed1024", "seed1024"),
            (Options(imbalance=5.0), "seed1024-if5", "seed1024-if5"),
            (Options(imbalance=2.5), "seed1024-if2.5", "seed1024-if2.5"),
            (Options(imbalance="none"), "seed1024-ifnone", "seed1024-ifnone"),
            (Options(val_fraction=0.1), "seed1024-val0.1", "seed1024-val0.1"),
            (Options(bn_batch=16), "seed1024-bn16", "seed1024-bn16"),
            (Options(hold="frozen"), "seed1024", "seed1024-frozen"),
            (Options(hold="shifted_bn"), "seed1024", "seed1024"),  # the recipe's own
            (Options(precision="bf16"), "seed1024-bf16", "seed1024-bf16"),
            (
                Options(epochs=3, imbalance=5.0, val_fraction=0.2, precision="bf16"),
                "seed1024-epochs3-if5-val0.2-bf16",
                "seed1024-epochs3-if5-val0.2-bf16",
            ),
        ],
    )
    def test_names_of_folders(self, tmp_path: Path, options: Options, first: str, second: str) -> None:
        jobs = {job.row: job for job in jobs_of("digits_lt", tmp_path, options) if job.seed == 1024}
        assert jobs["mixup"].run_dir == tmp_path / "digits_lt" / "mixup" / first
        assert jobs["mixup_mislas"].run_dir == tmp_path / "digits_lt" / "mixup_mislas" / second
        assert jobs["mixup_mislas"].stage1_dir == jobs["mixup"].run_dir

    def test_a_second_stage_alone_brings_its_first(self, tmp_path: Path) -> None:
        jobs = jobs_of("digits_lt", tmp_path, only=["mixup_sar_mislas"])
        assert [job.row for job in jobs if job.seed == 1024] == ["mixup_sar", "mixup_sar_mislas"]
        rows = [row for row in load_suite(CONFIGS, "digits_lt").rows if row.after]
        with pytest.raises(ValueError, match="starts from mixup"):
            make_jobs(rows, SEEDS, Options(), tmp_path)

    def test_options_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="digits/baseline is no long-tailed row: leave --imbalance out"):
            jobs_of("digits", tmp_path, Options(imbalance=10))

    def test_nothing_is_written(self, tmp_path: Path) -> None:
        jobs_of("digits", tmp_path / "work")
        assert list(tmp_path.iterdir()) == []


class TestRunning:
    """``run`` is replaced here: what matters is what becomes of its errors."""

    @pytest.fixture
    def ends(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
        """Row -> the error with which its run ends."""
        errors: dict[str, BaseException] = {}

        def run(job: Job, options: Options, cache: DataCache) -> dict[str, Any]:
            if job.row in errors:
                raise errors[job.row]
            return {"metrics": {"last": {"top1": 12.345}}}

        monkeypatch.setattr(suite, "run", run)
        return errors

    def jobs(self, tmp_path: Path, rows: str) -> list[Job]:
        return [Job("s", row, Source(tmp_path / f"{row}.py"), 1, tmp_path / row, title=f"title {row}") for row in rows]

    def test_all_done(self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = run_jobs(self.jobs(tmp_path, "abc"), Options())
        assert outcome.done == ["title a", "title b", "title c"]
        assert (outcome.failed, outcome.locked) == ([], [])
        assert "title b: top-1 12.35 %, 0:00" in capsys.readouterr().out

    @pytest.mark.parametrize("position", "abc")
    def test_a_failing_run_leaves_the_others(
        self, tmp_path: Path, ends: dict, position: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ends[position] = RuntimeError("out of memory")
        outcome = run_jobs(self.jobs(tmp_path, "abc"), Options())
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
        outcome = run_jobs(self.jobs(tmp_path, "abc"), Options())
        assert (outcome.done, outcome.failed) == (["title a", "title c"], ["title b"])
        assert "no error.log could be written" in capsys.readouterr().out

    def test_bad_input_of_the_first_run_stops_all(self, tmp_path: Path, ends: dict) -> None:
        ends["a"] = InputError("no data here")
        with pytest.raises(InputError, match="no data here"):
            run_jobs(self.jobs(tmp_path, "abc"), Options())

    def test_bad_input_of_a_later_run_fails_it_alone(
        self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ends["b"] = InputError("no data here")
        outcome = run_jobs(self.jobs(tmp_path, "abc"), Options())
        assert (outcome.done, outcome.failed) == (["title a", "title c"], ["title b"])
        assert "title b: no data here" in capsys.readouterr().out
        assert not (tmp_path / "b").exists()

    def test_a_locked_run_is_passed_over(self, tmp_path: Path, ends: dict, capsys: pytest.CaptureFixture[str]) -> None:
        ends["a"] = RunLocked("title a: another process is at this run, passed over")
        outcome = run_jobs(self.jobs(tmp_path, "abc"), Options())
        assert (outcome.done, outcome.failed, outcome.locked) == (["title b", "title c"], [], ["title a"])
        assert "title a: another process is at this run, passed over" in capsys.readouterr().out

    def test_ctrl_c_ends_the_suite(self, tmp_path: Path, ends: dict) -> None:
        ends["b"] = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            run_jobs(self.jobs(tmp_path, "abc"), Options())


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

    def test_one_data_set_at_a_time(self) -> None:
        cache, digits = DataCache(), dict(name="digits")
        whole = cache.get(digits, Options())
        assert cache.get(dict(digits), Options()) is whole
        held_out = cache.get(digits, Options(val_fraction=0.1))
        assert held_out.val is not None
        assert len(held_out.val) + len(held_out.train) == len(whole.train)
        assert len(cache.sets) == 1


class TestDevices:
    def test_absent_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from sar_cls.engine.options import usable_device

        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        for name in ("cuda", "cuda:1"):
            with pytest.raises(InputError, match="sees no CUDA device; use --device cpu"):
                usable_device(name)
        assert usable_device(None) == usable_device("cpu") == "cpu"
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        assert usable_device("cuda:1") == "cuda:1"
        with pytest.raises(InputError, match="only 2 CUDA devices"):
            usable_device("cuda:2")

    @pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu", "meta", "mps"])
    def test_unknown(self, name: str) -> None:
        from sar_cls.engine.options import usable_device

        with pytest.raises(InputError, match="cpu"):
            usable_device(name)


def test_data_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "data/cifar100")

    monkeypatch.setattr(engine, "load_splits", denied)
    with pytest.raises(InputError, match=r"data/cifar100: permission denied.*or give another --data-root"):
        DataCache().get(dict(name="cifar100"), Options())
