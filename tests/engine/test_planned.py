"""A planned run: built once, never changed, and with it the record of a first stage is read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, after_first_stage, fit, plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs import record

MakeJob = Callable[..., Job]
MISLAS = f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n'


def splits_of(planned: PlannedRun, cache: DataCache) -> DataSplits:
    return cache.get(planned.config.train_dataloader.dataset.to_dict(), planned.options)


@pytest.fixture
def first(make_job: MakeJob, cache: DataCache) -> Path:
    job = make_job(row="first")
    engine.run(job, Options(epochs=1, imbalance=20.0), cache)
    return job.run_dir


def test_it_says_which_run_it_is(make_job: MakeJob) -> None:
    job = make_job()
    planned = plan(job, Options(epochs=1, val_fraction=0.25, precision="bf16"))
    for name in ("suite", "row", "seed", "run_dir", "title", "source"):
        assert getattr(planned, name) == getattr(job, name)
    assert (planned.epochs, planned.precision, planned.overrides) == (1, "bf16", {"val_fraction": 0.25})
    assert planned.full_epochs > 1
    assert planned.first is None
    assert plan(dataclasses.replace(job, title=""), Options()).title == f"{job.suite}/{job.row} seed {job.seed}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        planned.seed = 2  # type: ignore[misc]


def test_images_make_a_new_plan(make_job: MakeJob, cache: DataCache) -> None:
    text = TINY + 'model = dict(head=dict(loss=dict(_delete_=True, type="BalancedSoftmax", class_counts=None)))\n'
    planned = plan(make_job(text), Options())
    before = planned.config.pretty_text
    splits = splits_of(planned, cache)
    fitted = fit(planned, splits)
    assert fitted.config.model.head.loss.class_counts == [int(count) for count in splits.train.counts]
    assert planned.config.model.head.loss.class_counts is None
    assert planned.config.pretty_text == before
    assert dataclasses.replace(fitted, config=planned.config) == planned


@pytest.mark.parametrize("stage", [1, 2])
def test_a_run_does_not_change_its_plan(
    stage: int, first: Path, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the epochs: the schedule is shortened, in a config of the runner's own."""
    execute, seen = engine.training.execute, []

    def watch(planned: PlannedRun, splits: DataSplits) -> dict:
        before = planned.config.pretty_text
        result = execute(planned, splits)
        seen.append((before, planned.config.pretty_text))
        return result

    monkeypatch.setattr(engine.training, "execute", watch)
    job = make_job() if stage == 1 else make_job(MISLAS, row="second", stage1_dir=first)
    done = engine.run(job, Options(epochs=1, stage2_epochs=1), cache)
    assert done["epochs"] < done["epochs_recipe"]
    assert [before == after for before, after in seen] == [True]


class TestSecondStage:
    def test_it_has_what_its_first_one_had(self, first: Path, make_job: MakeJob, cache: DataCache) -> None:
        planned = after_first_stage(
            plan(make_job(MISLAS, row="second", stage1_dir=first), Options(data_root="elsewhere"))
        )
        assert planned.first is not None
        assert planned.first.record == record.read_record(first)
        assert planned.overrides["imbalance"] == 20.0
        assert planned.config.model.backbone.to_dict() == planned.first.handover.backbone
        assert planned.first.state_dict == {}
        fitted = fit(planned, splits_of(planned, cache))
        assert fitted.first is not None
        assert "head.fc.weight" in fitted.first.state_dict
        assert planned.first.state_dict == {}

    def test_the_record_of_the_first_is_read_once(
        self, first: Path, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Looking whether a run is finished does not count: it does not hand the record on."""
        read, reads = record.read_record, []
        monkeypatch.setattr(record, "read_record", lambda folder: reads.append(folder) or read(folder))
        monkeypatch.setattr(record, "is_finished", lambda folder: (Path(folder) / record.RECORD_FILE).is_file())
        job = make_job(MISLAS, row="second", stage1_dir=first)
        engine.run(job, Options(stage2_epochs=1), cache)
        assert reads == [first, job.run_dir]
        reads.clear()
        engine.run(job, Options(stage2_epochs=1), cache)  # finished: compared with its first stage, and returned
        assert reads == [job.run_dir, first]

    def test_without_its_first_one(self, make_job: MakeJob, tmp_path: Path) -> None:
        job = make_job(MISLAS, row="second", stage1_dir=tmp_path / "nowhere")
        planned = plan(job, Options())
        assert planned.first is None
        with pytest.raises(InputError, match="not finished"):
            after_first_stage(planned)
