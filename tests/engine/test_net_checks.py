"""Virtual batches, held backbones and weights: what a run needs of its net is asked before it costs anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from tiny_runs import TINY
from torch import Tensor, nn

from sar_cls.cli import CONFIGS
from sar_cls.engine import mislas, recipe
from sar_cls.engine import run as engine
from sar_cls.engine import two_stage as longtail
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.launch.plans import plan_runs
from sar_cls.mm import loops
from sar_cls.models import CIFARResNet
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import CONFIG, LAST
from sar_cls.suites.rows import Source, load_suite, select_rows

MakeJob = Callable[..., Job]
MISLAS = f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\ntrain_cfg = dict(max_epochs=1)\nparam_scheduler = dict(T_max=1)\n'


@MODELS.register_module(force=True)
class WithoutBatchNorm(BaseModule):
    """A backbone that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.conv(inputs).relu().mean(dim=(2, 3)),)


@MODELS.register_module(force=True)
class WithoutPooling(WithoutBatchNorm):
    """One whose feature maps a neck would have to pool."""

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.conv(nn.functional.pad(inputs, (1, 1, 1, 1))),)


PLAIN = TINY + 'model = dict(backbone=dict(_delete_=True, type="WithoutBatchNorm"))\n'


@pytest.fixture
def norms(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, int | None, bool]]]:
    """Of each training that starts: type, virtual batch and mode of the backbone's batch norms."""
    seen: list[list[tuple[str, int | None, bool]]] = []
    run_epoch = loops.DeviceTrainLoop.run_epoch

    def look(self: loops.DeviceTrainLoop) -> Any:
        found = [module for module in self.runner.bare_model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        row = run_epoch(self)
        seen.append([(type(m).__name__, getattr(m, "virtual_batch", None), m.training) for m in found])
        return row

    monkeypatch.setattr(loops.DeviceTrainLoop, "run_epoch", look)
    return seen


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding images, which takes a minute and gigabytes of cache elsewhere, is an error."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the images were loaded first")

    monkeypatch.setattr(engine, "load_splits", refuse)


class TestVirtualBatches:
    def test_a_run_and_its_second_stage(self, make_job: MakeJob, cache: DataCache, norms: list) -> None:
        options = Options(bn_batch=16, epochs=1)
        job = make_job(row="bn")
        record = engine.run(job, options, cache)
        assert record["overrides"] == {"bn_batch": 16}
        assert len(norms[0]) == 7
        assert set(norms[0]) == {("VirtualBatchNorm2d", 16, True)}
        # It is the same recipe otherwise, with other results; a checkpoint has the usual names.
        plain = make_job(row="plain")
        assert engine.run(plain, Options(epochs=1), cache)["overrides"] == {}
        assert set(norms[1]) == {("BatchNorm2d", None, True)}
        states = [read_checkpoint(one.run_dir / LAST)["state_dict"] for one in (job, plain)]
        assert list(states[0]) == list(states[1])
        assert not torch.equal(states[0]["head.fc.weight"], states[1]["head.fc.weight"])
        # Asked for with another number, or with none, it is another run.
        for other in (Options(epochs=1), Options(bn_batch=8, epochs=1)):
            with pytest.raises(InputError, match="another overrides than is asked for"):
                engine.run(job, other, cache)
        assert engine.run(job, options, cache)["run_id"] == record["run_id"]
        # The second stage has the net of its first one, virtual batches included.
        second = make_job(MISLAS, row="second", stage1_dir=job.run_dir)
        assert engine.run(second, Options(), cache)["overrides"] == {}
        assert set(norms[2]) == {("VirtualBatchNorm2d", 16, True)}
        assert engine.run(second, Options(), cache)["stage1"]["overrides"] == {"bn_batch": 16}

    def test_initial_weights_are_those_without(self, make_job: MakeJob, cache: DataCache) -> None:
        started = []
        run = loops.DeviceTrainLoop.run
        for row, options in (("plain", Options()), ("bn", Options(bn_batch=16))):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    loops.DeviceTrainLoop,
                    "run",
                    lambda self: (
                        started.append({k: v.clone() for k, v in self.runner.model.state_dict().items()}) or run(self)
                    ),
                )
                engine.run(make_job(row=row), Options(epochs=1, bn_batch=options.bn_batch), cache)
        assert list(started[0]) == list(started[1])
        assert all(torch.equal(started[0][key], started[1][key]) for key in started[0])

    def test_the_rows_of_the_suite(self, tmp_path: Path) -> None:
        suite = load_suite(CONFIGS, "cifar100")
        rows = select_rows(suite, ["resnet18_bn16", "resnet18_bn16_sar"])
        for row, plain in zip(rows, ("resnet18", "resnet18_sar"), strict=True):
            own, other = (resolve(suite.row(one).source, Options()) for one in (row.name, plain))
            assert own.config.bn_batch == 16
            assert own.recipe != other.recipe
            assert own.config.model == other.config.model
            assert resolve(row.source, Options(bn_batch=16)).overrides == {}
            (job,) = plan_runs([row], [1], Options(bn_batch=16), tmp_path)
            assert job.run_dir.name == "seed1"

    def test_refused(self, make_job: MakeJob, cache: DataCache, no_images: None) -> None:
        job = make_job()
        with pytest.raises(InputError, match="--bn-batch 64 is not below the batch of 64"):
            engine.run(job, Options(bn_batch=64), cache)
        with pytest.raises(InputError, match="WithoutBatchNorm has no BatchNorm2d"):
            engine.run(make_job(PLAIN), Options(bn_batch=16), DataCache())
        assert not job.run_dir.exists()


class TestHold:
    def test_a_suite_is_refused_before_its_first_stage(self, tmp_path: Path) -> None:
        rows = select_rows(load_suite(CONFIGS, "cifar100_lt"), ["mixup", "mixup_mislas"])
        options = Options(backbone="timm:convnext_atto")
        message = (
            "cifar100_lt/mixup_mislas shifts the statistics of batch norms, and timm:convnext_atto has none: "
            "add --hold frozen"
        )
        with pytest.raises(InputError, match=f"^{message}") as error:
            plan_runs(rows, [1], options, tmp_path)
        for method in longtail.without_batch_norm(CONFIGS):
            assert method in str(error.value)
        assert {"tau", "logit_adjustment"} <= set(longtail.without_batch_norm(CONFIGS))
        assert "mislas" not in longtail.without_batch_norm(CONFIGS)
        # What works is not refused.
        held = plan_runs(rows, [1], Options(backbone="timm:convnext_atto", hold="frozen"), tmp_path)
        assert [job.run_dir.name for job in held] == ["seed1-timm_convnext_atto", "seed1-timm_convnext_atto-frozen"]
        assert len(plan_runs(rows, [1], Options(backbone="timm:resnet18"), tmp_path)) == 2
        tau = select_rows(load_suite(CONFIGS, "cifar100_lt"), ["ce", "tau_norm"])
        assert len(plan_runs(tau, [1], options, tmp_path)) == 2
        for untrained in (rows[:1], tau):
            with pytest.raises(InputError, match="--hold is for second stages that train"):
                plan_runs(untrained, [1], Options(hold="frozen"), tmp_path)

    def test_a_second_stage_of_a_backbone_without_batch_norm(
        self, make_job: MakeJob, cache: DataCache, tmp_path: Path
    ) -> None:
        first = tmp_path / "digits_lt" / "mixup" / "seed1"
        engine.run(make_job(PLAIN, row="first", run_dir=first), Options(epochs=1), cache)
        with pytest.raises(
            InputError, match=r"^mislas shifts .* and WithoutBatchNorm has none: add --hold frozen.*tau"
        ):
            longtail.second_stage_run(CONFIGS, first, "mislas", Options(), tmp_path / "work")
        planned = longtail.second_stage_run(CONFIGS, first, "mislas", Options(hold="frozen"), tmp_path / "work")
        assert planned.run_dir.name == "seed1-frozen"
        job = make_job(MISLAS, row="held", stage1_dir=first)
        done = engine.run(job, planned.options, cache)
        assert done["overrides"] == {"hold": "frozen"}
        states = [read_checkpoint(folder / LAST)["state_dict"] for folder in (first, job.run_dir)]
        assert torch.equal(states[0]["backbone.conv.weight"], states[1]["backbone.conv.weight"])
        assert not torch.equal(states[0]["head.fc.weight"], states[1]["head.fc.weight"])

    def test_it_stays_held_under_settings_that_are_published_for_its_data(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = make_job(PLAIN, row="first")
        engine.run(first, Options(epochs=1, imbalance=20), cache)
        monkeypatch.setitem(mislas.STAGE2, ("digits", 20.0), mislas.Stage2(0.3, 0.0, 0.1, True))
        held = make_job(MISLAS + 'settings_by_data = "mislas"\n', row="held", stage1_dir=first.run_dir)
        done = engine.run(held, Options(hold="frozen"), cache)
        assert done["overrides"] == {"imbalance": 20, "settings": "published", "hold": "frozen"}
        assert Config.fromfile(held.run_dir / CONFIG).model.hold == "frozen"

    def test_the_option_reaches_the_model(self) -> None:
        for name, default in (("mixup_mislas", "shifted_bn"),):
            resolved = [
                resolve(load_suite(CONFIGS, "cifar100_lt").row(name).source, Options(hold=hold), second_stage=True)
                for hold in (None, default, "frozen")
            ]
            assert [one.config.model.hold for one in resolved] == [default, default, "frozen"]
            assert [one.overrides for one in resolved] == [{}, {}, {"hold": "frozen"}]
            assert len({one.recipe for one in resolved}) == 1
            assert recipe.second_stage_name(Path("seed1"), Options(), resolved[2]) == "seed1-frozen"
        first = resolve(Source(CONFIGS / "cifar100_lt" / "mixup.py"), Options(hold="frozen"))
        assert first.overrides == {}
        assert first.config.model.get("hold") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            "depth=19",
            r"backbone: ResNet cannot be built of these values, invalid depth 19 for resnet: correct the config$",
        ),
        ("depth=18, num_stages=9", "backbone: ResNet cannot be built of these values: correct the config$"),
    ],
)
def test_a_backbone_of_mmpretrain_that_there_is_not(
    values: str, message: str, make_job: MakeJob, no_images: None
) -> None:
    job = make_job(TINY + f'model = dict(backbone=dict(_delete_=True, type="ResNet", {values}))\n')
    with pytest.raises(InputError, match=message):
        engine.run(job, Options(), DataCache())
    assert not job.run_dir.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "head=dict(in_channels=63)",
            r"^the net gives the head 64 features and model.head.in_channels is 63: correct it$",
        ),
        (
            'backbone=dict(_delete_=True, type="WithoutPooling")',
            r"^the net gives the head feature maps \[64, 64, 8, 8\] instead of .*GlobalAveragePooling",
        ),
    ],
)
def test_features_that_the_head_does_not_take(change: str, message: str, make_job: MakeJob, cache: DataCache) -> None:
    job = make_job(TINY + f"model = dict({change})\n")
    with pytest.raises(InputError, match=message):
        engine.run(job, Options(), cache)
    assert not job.run_dir.exists()


class TestWeights:
    @pytest.mark.parametrize("backbone", [None, "timm:resnet18"])
    @pytest.mark.parametrize(
        ("source", "message"),
        [("nowhere/resnet.pth", "there is no weight file"), ("damaged.pth", "cannot be read as a checkpoint")],
    )
    def test_looked_up_before_the_images(
        self, source: str, message: str, backbone: str | None, make_job: MakeJob, no_images: None, tmp_path: Path
    ) -> None:
        (tmp_path / "damaged.pth").write_bytes(b"no checkpoint")
        job = make_job()
        with pytest.raises(InputError, match=message):
            engine.run(job, Options(weights=str(tmp_path / source), backbone=backbone), DataCache())
        assert not job.run_dir.exists()

    def test_of_another_net(self, make_job: MakeJob, cache: DataCache, no_images: None, tmp_path: Path) -> None:
        torch.save(CIFARResNet(depth=14).state_dict(), tmp_path / "deep.pth")
        with pytest.raises(InputError, match="do not fit the backbone"):
            engine.run(make_job(), Options(weights=str(tmp_path / "deep.pth")), DataCache())

    def test_those_that_fit_are_taken(self, make_job: MakeJob, cache: DataCache, tmp_path: Path, capsys: Any) -> None:
        net = CIFARResNet(depth=8)
        torch.save(net.state_dict(), tmp_path / "fits.pth")
        job = make_job()
        engine.run(job, Options(weights=str(tmp_path / "fits.pth"), epochs=1), cache)
        assert "backbone tensors loaded from" in capsys.readouterr().err
