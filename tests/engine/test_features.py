"""The features that a run keeps are those that its classifier saw, of every kind of run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, TINY_SAR

import sar_cls
from sar_cls import argument_types, cli
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.metrics.class_statistics import class_statistics
from sar_cls.models import ScaledLinear
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.features import Features, read_features
from sar_cls.runs.geometry import recorded_geometry
from sar_cls.runs.outputs import read_outputs

SECOND = f"""
_base_ = "{cli.CONFIGS}/digits_lt/mislas.py"
train_cfg = dict(max_epochs=1)
"""
CLOSED_FORM = f'_base_ = "{cli.CONFIGS}/digits_lt/mixup.py"\ntrain_cfg = dict(max_epochs=0)\n'
COSINE = TINY + 'model = dict(head=dict(classifier=dict(type="cosine", scale=30.0)))\n'


def through_the_backbone(run_dir: Path, images: torch.Tensor) -> np.ndarray:
    """Features [n, D] of images, one batch, without any of the code under test."""
    net: Any = sar_cls.load_model(run_dir).net
    with torch.inference_mode():
        inputs = net.data_preprocessor({"inputs": images, "targets": None}, False)["inputs"]
        return net.backbone(inputs)[-1].flatten(1).numpy()


def check(run_dir: Path, net_dir: Path, cache: engine.DataCache) -> Features:
    """Compares what a run kept with what the net in ``net_dir`` makes of the images."""
    record = engine.record.read_record(run_dir)
    features, outputs = read_features(run_dir, record), read_outputs(run_dir)
    (splits,) = cache.sets.values()
    expected = through_the_backbone(net_dir, splits.test.images)
    np.testing.assert_allclose(features.test_features, expected, rtol=2**-10, atol=1e-5)
    np.testing.assert_array_equal(features.test_labels, outputs.labels)
    np.testing.assert_array_equal(features.test_predictions, outputs.logits.argmax(axis=1))
    train = class_statistics(through_the_backbone(net_dir, splits.train.images), splits.train.labels.numpy(), 10)
    assert features.train_class_counts.tolist() == record["train_counts"] == splits.train.counts
    for part in ("means", "directions", "variances"):
        np.testing.assert_allclose(getattr(features, f"train_class_{part}"), getattr(train, part), rtol=1e-3, atol=1e-5)
    # Weight and bias give the logits.
    assert features.classifier_weight is not None
    bias = 0 if features.classifier_bias is None else features.classifier_bias
    if not features.cosine_classifier:
        np.testing.assert_allclose(expected @ features.classifier_weight.T + bias, outputs.logits, rtol=1e-3, atol=1e-3)
    geometry = recorded_geometry(record)
    assert geometry is not None
    assert geometry["test"]["all"]["nc4"] == pytest.approx(
        100
        * np.mean(np.linalg.norm(expected[:, None] - train.means, axis=2).argmin(axis=1) != features.test_predictions)
    )
    return features


@pytest.fixture
def first(make_job: Callable[..., Any], cache: engine.DataCache) -> Path:
    job = make_job(TINY_SAR)
    engine.run(job, Options(), cache)
    return job.run_dir


def test_of_a_run_with_sar(first: Path, cache: engine.DataCache) -> None:
    features = check(first, first, cache)
    state = read_checkpoint(first / "last.pth")["state_dict"]
    for name in ("semantic_anchors", "class_anchors"):
        np.testing.assert_array_equal(getattr(features, name), state[f"head.regularizer.{name}"])
    assert features.anchors_set is not None
    np.testing.assert_array_equal(features.anchors_set, state["head.regularizer.initialized"])


def test_of_second_stages(first: Path, make_job: Callable[..., Any], cache: engine.DataCache) -> None:
    job = make_job(SECOND, row="second", stage1_dir=first)
    engine.run(job, Options(), cache)
    features = check(job.run_dir, job.run_dir, cache)
    assert features.semantic_anchors is None
    fc: Any = sar_cls.load_model(job.run_dir).net.head.fc
    assert isinstance(fc, ScaledLinear)  # whose scale is in weight and bias
    for kind in ("tau_norm", "logit_adjustment"):
        job = make_job(CLOSED_FORM + f'posthoc = dict(type="{kind}", tau=0.7)\n', row=kind, stage1_dir=first)
        engine.run(job, Options(), cache)
        check(job.run_dir, first, cache)


def test_of_a_cosine_classifier_with_a_validation_split(make_job: Callable[..., Any]) -> None:
    job, cache = make_job(COSINE), engine.DataCache()
    engine.run(job, Options(val_fraction=0.2), cache)
    features = check(job.run_dir, job.run_dir, cache)
    assert features.cosine_classifier
    assert features.classifier_bias is None


def test_without(make_job: Callable[..., Any], cache: engine.DataCache) -> None:
    plain, with_features = make_job(row="a"), make_job(row="b")
    records = [engine.run(plain, Options(features=False), cache), engine.run(with_features, Options(), cache)]
    assert not (plain.run_dir / "features.npz").exists()
    assert recorded_geometry(records[0]) is None
    for field in ("config_hash", "overrides", "data_fingerprint"):
        assert records[0][field] == records[1][field]
    np.testing.assert_array_equal(read_outputs(plain.run_dir).logits, read_outputs(with_features.run_dir).logits)
    # Finished is finished, whichever way it is asked for.
    assert engine.run(plain, Options(), cache)["run_id"] == records[0]["run_id"]
    assert not (plain.run_dir / "features.npz").exists()


def test_the_option() -> None:
    parser = argument_types.Parser()
    cli.add_run_options(parser, two_stages=True)
    assert cli.run_options(parser.parse_args(["--device", "cpu"])).features
    assert not cli.run_options(parser.parse_args(["--device", "cpu", "--no-features"])).features
