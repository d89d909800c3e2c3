"""What a second stage takes over from its first: read as data, never run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from tiny_runs import DENSE_SUITES

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.config import load_config
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover
from sar_cls.runs.folder import CONFIG, NET
from sar_cls.suites.rows import Source

MakeJob = Callable[..., Job]
ALL_CONFIGS = sorted(
    path
    for path in CONFIGS.glob("*/*.py")
    if path.parent.name not in DENSE_SUITES and "posthoc" not in load_config(path)
)


def handover(**changes: Any) -> Handover:
    values: dict[str, Any] = {
        "dataset": {"name": "digits", "longtail": {"imbalance_factor": 10, "profile": "exponential", "seed": 0}},
        "backbone": {"type": "CIFARResNet", "depth": 8},
        "neck": None,
        "num_classes": 10,
        "in_channels": 64,
        "data_preprocessor": {"type": "BatchPreprocessor", "mean": [1.0, 1.0, 1.0], "std": [1.0, 1.0, 1.0]},
    }
    return Handover(**values | changes)


@pytest.mark.parametrize("path", ALL_CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_of_the_suites_is_handed_over__as_data_and_from_the_dump(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    expected = Handover.of(config)
    expected.write(tmp_path)
    assert Handover.read(tmp_path) == expected
    (tmp_path / NET).unlink()
    (tmp_path / CONFIG).write_text(config.pretty_text, encoding="utf-8")  # a run from before there was that file
    assert Handover.read(tmp_path) == expected
    assert expected.backbone["type"] == config.model.backbone.type
    assert expected.num_classes == config.model.head.num_classes


def test_nothing_of_a_foreign_config_is_run(tmp_path: Path) -> None:
    for text in (
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nmodel = dict(backbone=dict(type='CIFARResNet'))\n",
        f"model = dict(backbone=open({str(tmp_path / 'ran')!r}, 'w'))\n",
        f"model = dict(**dict(backbone=[open({str(tmp_path / 'ran')!r}, 'w')]))\n",
        f"_base_ = '{tmp_path}/other.py'\n",
        "model = ",
        "",
        "(" * 5000,
    ):
        (tmp_path / CONFIG).write_text(text)
        with pytest.raises(InputError, match=r"config\.py is damaged .*move the folder .* away and run this row again"):
            Handover.read(tmp_path)
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": {"type": "os.system", "command": "true"}}, "'os.system' is no name of a module"),
        ({"backbone": {"type": "mmpretrain.get_model", "model": "x"}}, "'mmpretrain.get_model' is no name"),
        ({"backbone": {"type": "CIFARResNet", "norm_cfg": {"type": "builtins.eval"}}}, "'builtins.eval' is no name"),
        ({"backbone": {"type": ["CIFARResNet"]}}, "is no name of a module"),
        ({"backbone": {"type": "NoSuchNet"}}, "there is no module 'NoSuchNet'"),
        ({"backbone": {"depth": 8}}, "has no type"),
        ({"backbone": "CIFARResNet"}, "the backbone is missing"),
        ({"backbone": {"type": "ImageClassifier", "backbone": {}}}, "'ImageClassifier' is no part of a net"),
        ({"backbone": {"type": "LibraryBackbone", "name": "timm:hf-hub:a/b"}}, "is neither timm:NAME nor"),
        ({"neck": {"type": "os.system"}}, "'os.system' is no name of a module"),
        ({"data_preprocessor": {"type": "shutil.rmtree", "path": "x"}}, "'shutil.rmtree' is no name of a module"),
        ({"num_classes": "10"}, "whole numbers of at least 1"),
        ({"in_channels": True}, "whole numbers of at least 1"),
        ({"dataset": {"name": "../digits"}}, "the data set is unknown"),
        ({"dataset": [1]}, "the data set is unknown"),
        ({"dataset": {"name": "digits", "colour": "red"}}, "'colour' of the data set is unknown"),
        ({"dataset": {"name": "digits", "longtail": {"imbalance_factor": "10"}}}, "'imbalance_factor'"),
        ({"dataset": {"name": "digits", "longtail": [10]}}, "the long tail"),
    ],
    ids=str,
)
def test_what_no_first_stage_leaves_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / NET).write_text(json.dumps({"format": 1, **asdict(handover(**changes))}))
    with pytest.raises(InputError, match=message) as caught:
        Handover.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "more": 2}', "[" * 9999]
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / NET).write_text(text)
    with pytest.raises(InputError, match=rf"{NET} is damaged \(.*\): move the folder .* away and run this row again"):
        Handover.read(tmp_path)


def test_nothing_is_loaded_from_or_written_to_a_place_that_it_names(tmp_path: Path) -> None:
    foreign = handover(
        backbone={
            "type": "CIFARResNet",
            "depth": 8,
            "pretrained": True,
            "init_cfg": {"type": "Pretrained", "checkpoint": "http://example.org/x.pth"},
        },
        dataset={"name": "digits", "cache_dir": "/elsewhere"},
    )
    (tmp_path / NET).write_text(json.dumps({"format": 1, **asdict(foreign)}))
    found = Handover.read(tmp_path)
    assert found.backbone == {"type": "CIFARResNet", "depth": 8}
    assert found.dataset == {"name": "digits"}
    config = Config(dict(model=dict(backbone=dict(type=Handover), head=dict(num_classes=2, in_channels=3)),
                         train_dataloader=dict(dataset=dict(name="digits")), data_preprocessor=dict(type="X")))  # fmt: skip
    assert Handover.of(config).backbone == {"type": "Handover"}  # a module named by its class


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, cache: DataCache) -> Path:
    """The folder of a finished first stage."""
    folder = tmp_path_factory.mktemp("first")
    job = Job(
        "digits_lt", "mixup", Source(CONFIGS / "digits_lt" / "mixup.py"), 1, folder / "digits_lt" / "mixup" / "seed1"
    )
    engine.run(job, Options(epochs=1), cache)
    return job.run_dir


def test_a_second_stage_is_the_same_from_either_file_and_runs_neither(
    first: Path, make_job: MakeJob, cache: DataCache, tmp_path: Path
) -> None:
    metrics = []
    for name in ("data", "dump"):
        copy = Path(shutil.copytree(first, tmp_path / name))
        trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        (copy / CONFIG).write_text(trap + (copy / CONFIG).read_text())
        if name == "dump":
            (copy / NET).unlink()
        job = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n', row=name, stage1_dir=copy)
        metrics.append(engine.run(job, Options(stage2_epochs=1), cache)["metrics"])
    assert metrics[0] == metrics[1]
    assert not (tmp_path / "ran").exists()


class TestARunThatIsMended:
    """A first stage whose record was lost is finished from its own checkpoint: it is the same run, its second stage stays."""

    def test_its_second_stage_is_still_finished(
        self, first: Path, make_job: MakeJob, cache: DataCache, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(first, tmp_path / "first"))
        one = Job("digits_lt", "mixup", Source(CONFIGS / "digits_lt" / "mixup.py"), 1, copy)
        two = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n', row="two", stage1_dir=copy)
        options = Options(epochs=1, stage2_epochs=1)
        second = engine.run(two, options, cache)
        (copy / "record.json").unlink()
        engine.run(one, options, cache)
        assert engine.finished(plan(two, options), cache) == second

    def test_trained_anew_it_is_another_run_and_that_is_said(
        self, first: Path, make_job: MakeJob, cache: DataCache, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(first, tmp_path / "first"))
        one = Job("digits_lt", "mixup", Source(CONFIGS / "digits_lt" / "mixup.py"), 1, copy)
        two = make_job(f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\n', row="two", stage1_dir=copy)
        options = Options(epochs=1, stage2_epochs=1)
        second = engine.run(two, options, cache)
        for name in ("record.json", "last.pth"):
            (copy / name).unlink()
        engine.run(one, options, cache)
        with pytest.raises(InputError, match=r"started from another first stage .*move this second stage away"):
            engine.finished(plan(two, options), cache)
        two.run_dir.rename(tmp_path / "away")
        again = engine.run(two, options, cache)
        assert again["metrics"] == second["metrics"]
        assert again["stage1"]["run_id"] != second["stage1"]["run_id"]
