"""Values that would train to the end and mean nothing are refused before anything is read or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import DENSE_SUITES, TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine import recipe
from sar_cls.engine import run as engine
from sar_cls.engine.config import load_config
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

MakeJob = Callable[..., Job]

CONFIG_FILES = sorted(path for path in CONFIGS.glob("*/*.py") if path.parent.name not in DENSE_SUITES)


def optimizer(text: str) -> str:
    return f"optim_wrapper = dict(optimizer=dict({text}))\n"


def scheduler(text: str) -> str:
    return f"param_scheduler = dict(_delete_=True, {text})\n"


WRONG = {
    "batch of nothing": ("train_dataloader = dict(batch_size=0)\n", r"train_dataloader\.batch_size is 0"),
    "half an image": ("train_dataloader = dict(batch_size=1.5)\n", r"train_dataloader\.batch_size is 1\.5"),
    "batch as text": ("train_dataloader = dict(batch_size='64')\n", r"batch_size is '64'"),
    "no batch": ("val_dataloader = dict(batch_size=None)\n", "val_dataloader has no batch_size"),
    "test batch": ("val_dataloader = dict(batch_size=-1)\n", r"val_dataloader\.batch_size is -1"),
    "no batches": ("train_dataloader = dict(batches_per_epoch=0)\n", "batches_per_epoch is 0"),
    "batches by a wrong name": ("train_dataloader = dict(batches_per_epoch='all')\n", "batches_per_epoch is 'all'"),
    "mean of two channels": (
        "data_preprocessor = dict(mean=[1, 2])\n",
        r"data_preprocessor\.mean is \[1, 2\] and must be one",
    ),
    "std 0": ("data_preprocessor = dict(std=[0, 0, 0])\n", r"data_preprocessor\.std is \[0, 0, 0\] .* above 0"),
    "mixup below 0": ("data_preprocessor = dict(mixup_alpha=-1)\n", r"data_preprocessor\.mixup_alpha is -1"),
    "no epochs": ("train_cfg = dict(max_epochs=0)\n", r"train_cfg\.max_epochs is 0"),
    "epochs for ever": ("train_cfg = dict(max_epochs=10**30)\n", "a whole number from 1 to 1000000"),
    "rate 0": (optimizer("lr=0"), r"optimizer\.lr is 0 and must be above 0"),
    "negative rate": (optimizer("lr=-0.1"), r"optimizer\.lr is -0\.1"),
    "rate nan": (optimizer("lr=float('nan')"), r"optimizer\.lr is nan"),
    "momentum 7": (optimizer("momentum=7"), r"optimizer\.momentum is 7 and must be at least 0 and below 1"),
    "momentum 1": (optimizer("momentum=1.0"), r"optimizer\.momentum is 1\.0"),
    "decay": (optimizer("weight_decay=-1e-4"), r"optimizer\.weight_decay is -0\.0001"),
    "betas": (optimizer("_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 1.5)"), r"optimizer\.betas"),
    "unknown setting": (optimizer("momentun=0.9"), "no argument 'momentun'"),
    "unknown optimizer": (optimizer("type='SGDD'"), "there is no optimizer 'SGDD'"),
    "nesterov alone": (optimizer("momentum=0, nesterov=True"), "the optimizer cannot be built .*Nesterov"),
    "T_max 0": ("param_scheduler = dict(T_max=0)\n", r"param_scheduler\.T_max is 0"),
    "milestones backwards": (scheduler("type='MultiStepLR', milestones=[4, 2]"), "each above the one before"),
    "gamma 0": (scheduler("type='MultiStepLR', milestones=[1], gamma=0"), r"param_scheduler\.gamma is 0"),
    "start factor": (scheduler("type='LinearLR', start_factor=3"), r"param_scheduler\.start_factor is 3"),
    "ends first": (scheduler("type='LinearLR', start_factor=0.1, begin=5, end=2"), "ends before it begins"),
    "unknown schedule": (scheduler("type='CosineLR'"), "the param_scheduler cannot be built .*CosineLR"),
    "schedule of another setting": (scheduler("type='MultiStepLR', milestones=[1], T_max=3"), "cannot be built"),
    "a schedule that is none": ("param_scheduler = ['cosine']\n", "must be a dict"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_sentence_before_the_data(
    name: str, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, words = WRONG[name]
    job = make_job(TINY + text)
    monkeypatch.setattr(engine.DataCache, "get", lambda *_: pytest.fail("the data was read"))
    with pytest.raises(InputError, match=words) as error:
        engine.run(job, Options(), DataCache())
    assert len(str(error.value).splitlines()) == 1
    assert str(job.source) in str(error.value)
    assert not job.run_dir.exists()


def test_a_batch_larger_than_the_training_set(make_job: MakeJob, cache: DataCache) -> None:
    job = make_job(TINY + "train_dataloader = dict(batch_size=100000)\n")
    with pytest.raises(InputError, match=r"batches of 100000 images and the training set has \d+: use a smaller"):
        engine.run(job, Options(), cache)
    assert not job.run_dir.exists()


def test_less_data_by_the_command_line_is_said(
    make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(TINY + "train_dataloader = dict(batch_size=600)\n")
    with pytest.raises(InputError, match="use a smaller batch_size"):
        engine.run(job, Options(epochs=1), cache)
    engine.run(job, Options(epochs=1, imbalance=20.0), cache)
    assert "every epoch is one step" in capsys.readouterr().err


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_benchmark_s_own_configs_pass(path: Path) -> None:
    second = recipe.is_second_stage(load_config(path))
    resolved = recipe.resolve(Source(path), Options(), second_stage=second)
    assert dataclasses.is_dataclass(resolved)


@pytest.mark.parametrize("code", ["0", "3", "'bye'", ""])
def test_a_config_that_ends_the_process(code: str, make_job: MakeJob, cache: DataCache) -> None:
    job = make_job(TINY + f"import sys\nsys.exit({code})\n")
    with pytest.raises(InputError, match=r"row\.py, line \d+: SystemExit.*correct the config"):
        engine.run(job, Options(), cache)
