"""Entries that nothing would read are refused before anything is read or written; those of the benchmark are all read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmpretrain.registry import MODELS
from tiny_runs import DENSE_SUITES, TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.config import load_config
from sar_cls.engine.config_keys import check_keys
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import is_second_stage, resolve
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm.second_stage import SecondStageClassifier
from sar_cls.suites.rows import Source, load_suite

MakeJob = Callable[..., Job]

SECOND = f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n'
WRONG = {
    "sampler": ("train_dataloader = dict(smapler=dict(type='ClassBalanced'))", "train_dataloader", "smapler", "sampler"),
    "batch": ("train_dataloader = dict(batchsize=8)", "train_dataloader", "batchsize", "batch_size"),
    "test batch": ("val_dataloader = dict(batch_sise=8)", "val_dataloader", "batch_sise", "batch_size"),
    "epochs": ("train_cfg = dict(max_epoch=3)", "train_cfg", "max_epoch", "max_epochs"),
    "clipping": ("optim_wrapper = dict(clip_gradd=dict(max_norm=1))", "optim_wrapper", "clip_gradd", "clip_grad"),
    "summing up": ("optim_wrapper = dict(acumulative_counts=2)", "optim_wrapper", "acumulative_counts", "accumulative_counts"),
    "head": ("model = dict(hed=dict(type='X'))", "model", "hed", "head"),
    "long tail": ("train_dataloader = dict(dataset=dict(longtial=None))", "dataset", "longtial", "longtail"),
    "factor": (
        "train_dataloader = dict(dataset=dict(longtail=dict(imbalance=50)))",
        r"dataset\.longtail",
        "imbalance",
        "imbalance_factor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("base", [TINY, SECOND], ids=["first stage", "second stage"])
@pytest.mark.parametrize("name", WRONG)
def test_one_sentence_before_the_data(name: str, base: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    text, where, wrong, near = WRONG[name]
    job = make_job(f"{base}{text}\n")
    monkeypatch.setattr(engine.DataCache, "get", lambda *_: pytest.fail("the data was read"))
    with pytest.raises(InputError, match=f"{where} has no entry '{wrong}': did you mean '{near}'\\?$") as error:
        engine.run(job, Options(), DataCache())
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(f"{job.source}: ")
    assert not job.run_dir.exists()


def test_without_a_near_one_all_are_named(make_job: MakeJob) -> None:
    job = make_job(TINY + "train_dataloader = dict(dataset=dict(qqqq=1))\n")
    with pytest.raises(InputError, match=r"dataset has no entry 'qqqq': known are name, longtail, .*num_classes"):
        resolve(job.source, Options())


@MODELS.register_module(force=True)
class Patient(SecondStageClassifier):
    """One whose signature does not say what it takes."""

    def __init__(self, **kwargs: Any) -> None:
        self.patience = kwargs.pop("patience", 0)
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    "text",
    [
        "train_dataloader = dict(num_workers=4, persistent_workers=True, pin_memory=True, drop_last=True)",
        "val_dataloader = dict(num_workers=4, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(name='digits'))",
        "optim_wrapper = dict(accumulative_counts=2, clip_grad=dict(max_norm=1.0), precision='bf16')",
        "optim_wrapper = dict(constructor='MyConstructor', temperature=2)",
        "model = dict(init_cfg=None, train_cfg=None)",
        "model = dict(type='Patient', patience=3)",
    ],
)
def test_what_is_known_or_may_be_passes(text: str, make_job: MakeJob) -> None:
    resolve(make_job(f"{TINY}{text}\n").source, Options())


def test_a_second_stage_hands_on_what_its_classifier_takes() -> None:
    config = resolve(load_suite(CONFIGS, "digits_lt").row("mixup_mislas").source, Options(), second_stage=True).config
    config.model.init_cfg = None
    check_keys(config, Source(Path("row.py")))


@pytest.mark.parametrize("suite", DENSE_SUITES)
class TestSegmentation:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

    def test_the_benchmark_s_own_configs_pass(self, suite: str) -> None:
        for path in sorted((CONFIGS / suite).glob("*.py")):
            second = is_second_stage(load_config(path))
            assert resolve(Source(path), Options(weights="none"), second_stage=second).is_dense

    @pytest.mark.parametrize(
        ("section", "wrong", "near"),
        [
            ("train_dataloader", "num_worker", "num_workers"),
            ("val_dataloader", "batchsize", "batch_size"),
            ("train_cfg", "val_intervall", "val_interval"),
            ("optim_wrapper", "clip_gradd", "clip_grad"),
            ("model", "auxilliary_head", "auxiliary_head"),
        ],
    )
    def test_a_wrong_entry(self, suite: str, section: str, wrong: str, near: str) -> None:
        source = Source(sorted((CONFIGS / suite).glob("*.py"))[0], {section: {wrong: 1}}, "place", "name")
        with pytest.raises(InputError, match=f"^place: {section} has no entry '{wrong}': did you mean '{near}'\\?$"):
            resolve(source, Options(weights="none"))


def test_the_data_set_of_masks(tmp_path: Path) -> None:
    config = Config(
        dict(
            model=dict(type="ImageClassifier"),
            train_dataloader=dict(batch_size=1, dataset=dict(name="camvid", data_rot="data")),
            val_dataloader=dict(batch_size=1),
            train_cfg=dict(max_epochs=1),
            optim_wrapper=dict(),
        )
    )
    with pytest.raises(InputError, match="dataset has no entry 'data_rot': did you mean 'data_root'"):
        check_keys(config, Source(tmp_path / "row.py"))
