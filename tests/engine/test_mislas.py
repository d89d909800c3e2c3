"""The settings of MiSLAS's second stage follow the data of the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from synthetic_runs import make_record, write_run

import sar_cls.mm  # noqa: F401
from sar_cls.cli import CONFIGS
from sar_cls.engine import mislas
from sar_cls.engine import run as engine
from sar_cls.engine.config import load_config, recipe_hash
from sar_cls.engine.options import Options
from sar_cls.engine.planned import after_first_stage, plan
from sar_cls.engine.recipe import Resolved
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import CONFIG, LAST
from sar_cls.suites.rows import Source

# As the published files have them: smooth_head, smooth_tail, lr_factor, shift_bn.
FILES = {
    ("cifar100", 100): (0.4, 0.1, 0.2, True),
    ("cifar100", 50): (0.3, 0.0, 0.1, True),
    ("cifar100", 10): (0.2, 0.0, 0.1, True),
    ("cifar10", 100): (0.3, 0.0, 0.5, False),
    ("cifar10", 50): (0.2, 0.0, 0.2, False),
    ("cifar10", 10): (0.1, 0.0, 0.2, False),
}


def second_stage(
    tmp_path: Path, config: Path, dataset: str, factor: float | None, hold: str | None = None, **longtail: Any
) -> Resolved:
    """The resolved config of a second stage after a first one on this data; nothing is trained."""
    overrides = {} if factor == 100 else {"imbalance": factor or "none"}
    record = write_run(tmp_path, make_record(f"{dataset}_lt", "mixup", 1, 40.0, overrides=overrides))
    folder = tmp_path / record["suite"] / record["row"] / record["run"]
    first = load_config(CONFIGS / "cifar100_lt" / "mixup.py")
    tail = None if factor is None else dict(imbalance_factor=factor, profile="exponential", seed=0) | longtail
    first.train_dataloader.dataset = dict(name=dataset, longtail=tail)
    first.model.head.num_classes = 10 if dataset == "cifar10" else 100
    first.dump(str(folder / CONFIG))
    job = Job("mine", "mislas", Source(config), 1, tmp_path / "mine", folder)
    return after_first_stage(plan(job, Options(hold=hold)))


def settings_of(config: Any) -> tuple[float, float, Any, bool]:
    """What a config really does: smoothing, learning rates of the built optimizer, mode of the built backbone."""
    loss = config.model.head.loss
    loss["class_counts"] = list(range(config.model.head.num_classes + 5, 5, -1))
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=dict(config.data_preprocessor)))
        optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    fc = model.head.fc
    assert rates[id(fc.scaling.scale)] == 0.1
    assert rates[id(fc.weight)] == rates[id(fc.bias)]
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    model.train()
    modes = {module.training for module in model.backbone.modules()}
    assert len(modes) == 1
    return loss["smooth_head"], loss["smooth_tail"], pytest.approx(rates[id(fc.weight)] / 0.1), modes.pop()


@pytest.mark.parametrize(("dataset", "factor"), FILES)
@pytest.mark.parametrize("suite", ["cifar100_lt", "cifar10_lt"])
def test_published_settings_are_taken(suite: str, dataset: str, factor: float, tmp_path: Path) -> None:
    resolved = second_stage(tmp_path, CONFIGS / suite / "mislas.py", dataset, factor)
    assert settings_of(resolved.config) == FILES[dataset, factor]
    own = (suite, factor) == (f"{dataset}_lt", 100)
    assert resolved.overrides.get("settings") == (None if own else "published")


@pytest.mark.parametrize("hold", ["frozen", "shifted_bn"])
@pytest.mark.parametrize(("dataset", "factor"), FILES)
@pytest.mark.parametrize("suite", ["cifar100_lt", "cifar10_lt"])
def test_hold_of_the_command_line_is_kept(suite: str, dataset: str, factor: float, hold: str, tmp_path: Path) -> None:
    """And recorded, where it is not what would be done without."""
    resolved = second_stage(tmp_path, CONFIGS / suite / "mislas.py", dataset, factor, hold)
    *settings, shifted = FILES[dataset, factor]
    assert settings_of(resolved.config) == (*settings, hold == "shifted_bn")
    assert resolved.config.model.hold == hold
    if (hold == "shifted_bn") != shifted:
        assert resolved.overrides["hold"] == hold
    assert resolved.overrides.get("hold") in (None, hold)


@pytest.mark.parametrize(
    ("dataset", "factor", "longtail"),
    [("cifar100", 20, {}), ("cifar100", 50.5, {}), ("cifar100", 50, {"profile": "step"}), ("folder", 50, {})],
)
def test_where_none_are_published_the_rows_own_are_used_and_the_run_is_marked(
    dataset: str, factor: float, longtail: dict, tmp_path: Path
) -> None:
    resolved = second_stage(tmp_path, CONFIGS / "cifar100_lt" / "mislas.py", dataset, factor, **longtail)
    assert settings_of(resolved.config) == FILES["cifar100", 100]
    assert resolved.overrides["settings"] == "settings of cifar100, imbalance 100"


def test_data_without_a_long_tail_is_marked_too(tmp_path: Path) -> None:
    resolved = second_stage(tmp_path, CONFIGS / "cifar100_lt" / "mislas.py", "cifar100", None)
    assert resolved.overrides["settings"] == "settings of cifar100, imbalance 100"


def test_other_second_stages_have_no_such_settings(tmp_path: Path) -> None:
    before = load_config(CONFIGS / "cifar100_lt" / "crt.py")
    resolved = second_stage(tmp_path, CONFIGS / "cifar100_lt" / "crt.py", "cifar100", 50)
    assert "settings" not in resolved.overrides
    assert resolved.config.model.head.loss == before.model.head.loss
    assert resolved.config.model.hold == before.model.hold


def test_a_config_of_ones_own_keeps_its_settings(tmp_path: Path) -> None:
    """On the data that it was written for, and on any where it says so."""
    text = f'_base_ = "{CONFIGS}/cifar100_lt/mislas.py"\nmodel = dict(head=dict(loss=dict(smooth_head=0.25)))\n'
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "fixed.py").write_text(text + "settings_by_data = None\n")
    assert settings_of(second_stage(tmp_path, tmp_path / "own.py", "cifar100", 100).config)[0] == 0.25
    assert settings_of(second_stage(tmp_path, tmp_path / "own.py", "cifar100", 50).config)[0] == 0.3
    resolved = second_stage(tmp_path, tmp_path / "fixed.py", "cifar100", 50)
    assert settings_of(resolved.config)[0] == 0.25
    assert "settings" not in resolved.overrides


def test_the_recipe_of_imbalance_100_is_the_one_that_finished_runs_have() -> None:
    assert recipe_hash(load_config(CONFIGS / "cifar100_lt" / "mislas.py")) == "b738341130f0"


def test_cifar10_leaves_the_statistics_of_batch_norm_alone(tmp_path: Path) -> None:
    config = second_stage(tmp_path, CONFIGS / "cifar10_lt" / "mislas.py", "cifar10", 50).config
    config.model.head.loss["class_counts"] = [50, 40, 30, 20, 10, 9, 8, 7, 6, 5]
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=dict(config.data_preprocessor)))
    model.train()
    before = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    model.backbone(torch.randn(4, 3, 32, 32))
    assert before
    assert all(torch.equal(before[name], buffer) for name, buffer in model.backbone.named_buffers())


def test_a_whole_run_records_them_and_is_refused_under_others(
    make_job: Callable[..., Job], cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_job(row="first")
    engine.run(first, Options(imbalance=20), cache)
    text = (
        f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\nsettings_by_data = "mislas"\n'
        "train_cfg = dict(max_epochs=1)\nparam_scheduler = dict(T_max=1)\n"
    )
    second = make_job(text, row="second", stage1_dir=first.run_dir)
    monkeypatch.setitem(mislas.STAGE2, ("digits", 20.0), mislas.Stage2(0.3, 0.0, 0.1, False))
    record = engine.run(second, Options(), cache)
    assert record["overrides"] == {"imbalance": 20, "settings": "published"}
    assert engine.run(second, Options(), cache)["run_id"] == record["run_id"]
    before, after = (read_checkpoint(job.run_dir / LAST)["state_dict"] for job in (first, second))
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("backbone."))
    monkeypatch.delitem(mislas.STAGE2, ("digits", 20.0))
    with pytest.raises(InputError, match="another overrides"):
        engine.run(second, Options(), cache)
