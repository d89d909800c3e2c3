"""Runs with a layer before the classifier: loaded as trained, exported, and held by a second stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, files_of
from torch import Tensor, nn

import sar_cls
from sar_cls.cli import CONFIGS
from sar_cls.data import load_image_set
from sar_cls.engine import run as engine
from sar_cls.engine.net_checks import check_last_batch
from sar_cls.engine.options import Options
from sar_cls.engine.trained import save_safetensors
from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST, NET
from sar_cls.runs.outputs import read_outputs

MakeJob = Callable[..., Any]
FIXED = """
model = dict(head=dict(
    feature_layer="{}",
    classifier=dict(type="fixed", anchors="simplex"),
    loss=dict(_delete_=True, type="DotRegression", class_counts="train", balanced=True),
))
"""
LEARNED = 'model = dict(head=dict(feature_layer="{}"))\n'
MISLAS = f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\ntrain_cfg = dict(max_epochs=1)\n'
each_layer = pytest.mark.parametrize("layer", ["batch_norm", "linear", "linear_batch_norm"])


@each_layer
def test_a_loaded_net_says_what_the_run_said(
    layer: str, make_job: MakeJob, cache: engine.DataCache, tmp_path: Path
) -> None:
    job = make_job(TINY + FIXED.format(layer))
    engine.run(job, Options(), cache)
    images, expected = load_image_set("digits", "test").images, read_outputs(job.run_dir).logits
    model = sar_cls.load_model(job.run_dir)
    with torch.inference_mode():
        np.testing.assert_allclose(model(images).numpy(), expected, rtol=1e-5, atol=1e-5)
    pytest.importorskip("safetensors", reason="needs sar-cls[export]")
    save_safetensors(model, tmp_path / "net.safetensors")
    with torch.inference_mode():
        assert torch.equal(sar_cls.load_model(tmp_path / "net.safetensors")(images), model(images))


@each_layer
def test_a_second_stage_holds_it(layer: str, make_job: MakeJob, cache: engine.DataCache) -> None:
    first = make_job(TINY + LEARNED.format(layer))
    engine.run(first, Options(), cache)
    second = make_job(MISLAS, row="second", stage1_dir=first.run_dir)
    engine.run(second, Options(), cache)
    before, after = (read_checkpoint(job.run_dir / LAST)["state_dict"] for job in (first, second))
    own = {name for name in after if name.startswith("head.feature_layer.")}
    statistics = {name for name in own if "running_" in name or "num_batches" in name}
    assert bool(statistics) is ("batch_norm" in layer)
    for name in own:  # statistics shift with those of the backbone
        assert torch.equal(before[name], after[name]) is (name not in statistics), name
    assert not torch.equal(before["head.fc.weight"], after["head.fc.weight"])


class PooledNet(nn.Module):
    """Batch norm of what a convolution and dropout have left of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, inputs: Tensor, mode: str) -> Tensor:
        return self.norm(nn.functional.dropout(self.conv(inputs), training=self.training))


def digits_in_batches(leaving: int, drop_last: bool = False) -> str:
    """A config whose last batch of an epoch has so many of the 531 images."""
    return TINY + f"train_dataloader = dict(batch_size={531 - leaving}, drop_last={drop_last})\n"


def test_a_last_batch_of_one_image(make_job: MakeJob, cache: engine.DataCache) -> None:
    job = make_job(digits_in_batches(leaving=1) + LEARNED.format("batch_norm"))
    before = files_of(job.run_dir)
    with pytest.raises(InputError, match="531 training images in batches of 530 leave one image in the last one"):
        engine.run(job, Options(), cache)
    assert files_of(job.run_dir) == before
    # Where nothing normalises single values, where there is another image, and where the last batch is left out, it is trained.
    for row, config in (
        ("linear", digits_in_batches(leaving=1) + LEARNED.format("linear")),
        ("two", digits_in_batches(leaving=2) + LEARNED.format("batch_norm")),
        ("dropped", digits_in_batches(leaving=1, drop_last=True) + LEARNED.format("batch_norm")),
    ):
        record = engine.run(make_job(config, row=row), Options(epochs=1), cache)
        assert record["epochs"] == 1


def test_looking_at_the_last_batch_changes_no_net() -> None:
    net = PooledNet().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    images = SimpleNamespace(image_size=(4, 4))
    loader = SimpleNamespace(num_samples=9, batch_size=8, image_set=images, device=torch.device("cpu"))
    check_last_batch(net, loader, processes=1)
    assert net.training is False
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    # Of nine images a process of two has one in a last batch of three.
    loader = SimpleNamespace(
        num_samples=9, batch_size=6, image_set=SimpleNamespace(image_size=(3, 3)), device=loader.device
    )
    with pytest.raises(InputError, match="leave one image to a process"):
        check_last_batch(net, loader, processes=2)
    check_last_batch(net, loader, processes=1)


def test_an_unknown_one_in_a_foreign_folder(make_job: MakeJob, cache: engine.DataCache) -> None:
    job = make_job(TINY + LEARNED.format("linear"))
    engine.run(job, Options(epochs=1), cache)
    path = job.run_dir / NET
    about = json.loads(path.read_text(encoding="utf-8"))
    assert about["feature_layer"] == "linear"
    for wrong in ("os.system", ["linear"], 1):
        path.write_text(json.dumps(about | {"feature_layer": wrong}), encoding="utf-8")
        with pytest.raises(InputError, match="the feature_layer must be one of linear, batch_norm"):
            Handover.read(job.run_dir)
