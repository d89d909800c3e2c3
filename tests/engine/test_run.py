"""One run: its data, its place, its lock, what it leaves; finished runs are in test_finished.py, resumed ones in test_resume.py."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY, files_of

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError, RunFailed, RunLocked
from sar_cls.runs import folder, record

MakeJob = Callable[..., Job]


def test_one_data_set_at_a_time() -> None:
    cache, digits = DataCache(), dict(name="digits")
    whole = cache.get(digits, Options())
    assert cache.get(dict(digits), Options()) is whole
    held_out = cache.get(digits, Options(val_fraction=0.1))
    assert held_out.val is not None
    assert len(held_out.val) + len(held_out.train) == len(whole.train)
    assert len(cache.sets) == 1


def test_data_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "data/cifar100")

    monkeypatch.setattr(engine, "load_splits", denied)
    with pytest.raises(InputError, match=r"data/cifar100: permission denied.*or give another --data-root"):
        DataCache().get(dict(name="cifar100"), Options())


def test_a_finished_run_is_shown_when_its_images_may_not_be_read(
    make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    done = engine.run(job, Options(epochs=1), cache)

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "data/digits")

    monkeypatch.setattr(engine, "load_splits", denied)
    capsys.readouterr()
    fresh = DataCache()
    for _ in range(2):
        assert engine.finished(plan(job, Options(epochs=1)), fresh) == done
    assert capsys.readouterr().err.splitlines() == [
        "finished runs are not compared with the images: data/digits: permission denied: give this user the right to it"
    ]


def test_the_run_that_another_process_ended_meanwhile(
    make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the folder and its lock; the record that is there then is taken, and nothing is trained."""
    job, lock = make_job(), folder.lock
    done = engine.run(job, Options(epochs=1), cache)
    text = (job.run_dir / record.RECORD_FILE).read_bytes()
    (job.run_dir / record.RECORD_FILE).unlink()

    def lock_late(run_dir: Path) -> Any:
        (run_dir / record.RECORD_FILE).write_bytes(text)
        return lock(run_dir)

    monkeypatch.setattr(folder, "lock", lock_late)
    monkeypatch.setattr(engine.training, "execute", lambda *_: pytest.fail("it was trained"))
    assert engine.run(job, Options(epochs=1), cache) == done


def test_leftovers_of_a_kill_are_cleared_and_other_files_stay(make_job: MakeJob, cache: DataCache) -> None:
    job = make_job()
    job.run_dir.mkdir(parents=True)
    (job.run_dir / ".last.pth.abc.tmp").write_text("half")
    (job.run_dir / "notes.txt").write_text("mine")
    engine.run(job, Options(epochs=1), cache)
    assert "notes.txt" in files_of(job.run_dir)
    assert not list(job.run_dir.glob(".*.tmp"))


def test_a_second_stage_whose_first_one_is_held_is_passed_over(make_job: MakeJob, tmp_path: Path) -> None:
    held = tmp_path / "first"
    held.mkdir()
    job = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"', stage1_dir=held)
    with folder.lock(held), pytest.raises(RunLocked, match="another process is at its first stage"):
        engine.run(job, Options(), DataCache())
    with pytest.raises(InputError, match="not finished"):
        engine.run(job, Options(), DataCache())


def test_code_that_ends_the_process_ends_its_run(
    make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> None:
        raise SystemExit("bye")

    monkeypatch.setattr(engine.training, "execute", leave)
    job = make_job()
    with pytest.raises(RunFailed, match=r"row\.py or of what it imports ended the run by sys\.exit\('bye'\)"):
        engine.run(job, Options(epochs=1), cache)
    with folder.lock(job.run_dir):  # it is free again
        pass


def test_what_a_config_imports_is_imported_where_it_runs(
    make_job: MakeJob, cache: DataCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that came from another process, which has read the config, is stood for by a module that is forgotten again."""
    (tmp_path / "own_parts.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    planned = plan(make_job(TINY + 'custom_imports = dict(imports=["own_parts"])\n'), Options(epochs=1))
    assert sys.modules.pop("own_parts")
    engine.run_planned(planned, cache)
    assert sys.modules.pop("own_parts")
    (tmp_path / "own_parts.py").unlink()
    elsewhere = dataclasses.replace(planned, run_dir=tmp_path / "elsewhere")
    with pytest.raises(
        InputError,
        match=r"row\.py: what custom_imports names is not found here \(.*\): put its folder on the PYTHONPATH",
    ):
        engine.run_planned(elsewhere, cache)
    assert not elsewhere.run_dir.exists()
