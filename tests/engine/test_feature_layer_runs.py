"""Runs with a layer before the classifier: loaded as trained, exported, and held by a second stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY

import sar_cls
from sar_cls.cli import CONFIGS
from sar_cls.data import load_image_set
from sar_cls.engine import run as engine
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
each_layer = pytest.mark.parametrize("layer", ["batch_norm", "linear"])


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
    prefix = "head.feature_layer."
    assert all(torch.equal(before[prefix + name], after[prefix + name]) for name in ("weight", "bias"))
    if layer == "batch_norm":  # shifts with those of the backbone
        assert not torch.equal(before[f"{prefix}running_mean"], after[f"{prefix}running_mean"])
    assert not torch.equal(before["head.fc.weight"], after["head.fc.weight"])


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
