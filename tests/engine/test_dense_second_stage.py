"""A second stage after a segmentation net: what moves, which first stages it takes, and its net outside of the benchmark."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY
from tiny_scenes import CASCADE, CASCADE_DISALIGN, DENSE_SAR, DISALIGN, camvid_job, write_cityscapes

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

import sar_cls
from sar_cls import cli
from sar_cls.cli import CONFIGS
from sar_cls.commands import export
from sar_cls.engine import two_stage
from sar_cls.engine.finished_features import make_features
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job, run
from sar_cls.engine.trained import TrainedSegmentor
from sar_cls.errors import InputError
from sar_cls.mm import loops
from sar_cls.reporting.groups import recipe_of
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import LAST, NET
from sar_cls.runs.record import read_record
from sar_cls.suites.rows import Source, load_suite

MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, options: Options, cache: DataCache) -> Path:
    """The folder of a finished first stage, with SAR."""
    job = camvid_job(tmp_path_factory.mktemp("first"), "segformer_sar", DENSE_SAR)
    run(job, options, cache)
    return job.run_dir


def state(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / LAST)["state_dict"]


def test_only_the_calibration_moves(
    first: Path, make_job: MakeJob, options: Options, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[dict[str, torch.Tensor]] = []
    train = loops.DeviceTrainLoop.run

    def keep(self: loops.DeviceTrainLoop) -> Any:
        starts.append({key: value.detach().clone() for key, value in self.runner.bare_model.state_dict().items()})
        return train(self)

    monkeypatch.setattr(loops.DeviceTrainLoop, "run", keep)
    job = make_job(DISALIGN, stage1_dir=first)
    record = run(job, options, cache)
    before, after, start = state(first), state(job.run_dir), starts[0]
    moved = {key for key in after if not torch.equal(after[key], start[key])}
    calibration = {key for key in after if key.startswith("decode_head.calibration.")}
    assert moved == calibration
    assert {"decode_head.calibration.magnitude", "decode_head.calibration.margin"} < calibration
    assert all(torch.equal(before[key], start[key]) for key in start if key not in calibration)
    assert {key for key in before if key not in after} == {key for key in before if "regularizer" in key}
    assert record["stage"] == 2
    assert record["stage1"]["run_id"] == read_record(first)["run_id"]
    assert (record["epochs"], record["epochs_recipe"], record["method"]) == (4, 4, "none")
    assert record["metrics"]["last"]["miou"] >= 0


def test_before_it_learns_it_says_what_the_first_stage_says(
    first: Path, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    still = DISALIGN + "optim_wrapper = dict(optimizer=dict(lr=1e-30, weight_decay=0.0))\n"
    job = make_job(still.replace("eta_min=1e-4", "eta_min=0.0"), stage1_dir=first)
    run(job, options, cache)
    expected, found = read_dense_outputs(first), read_dense_outputs(job.run_dir)
    assert np.array_equal(found.last.predictions, expected.last.predictions)


@pytest.mark.parametrize("epoch", ["last", "best"])
@pytest.mark.parametrize("stage", [1, 2])
def test_the_loaded_net_says_what_the_run_said(
    stage: int, epoch: str, first: Path, make_job: MakeJob, options: Options, cache: DataCache, tmp_path: Path
) -> None:
    folder = first
    if stage == 2:
        job = make_job(DISALIGN, stage1_dir=first)
        run(job, options, cache)
        folder = job.run_dir
    outputs = read_dense_outputs(folder)
    model = sar_cls.load_model(folder, epoch=epoch)
    assert isinstance(model, TrainedSegmentor)
    images = torch.from_numpy(outputs.images)
    labels, probabilities = model.segment(images)
    assert np.array_equal(labels.numpy(), getattr(outputs, epoch).predictions[outputs.examples])
    assert probabilities.shape == labels.shape == images.shape[:3]
    assert model.classes[:2] == ("Sky", "Building")
    assert model.image_size == (40, 48)
    with torch.inference_mode():
        assert torch.equal(model(images).argmax(1), labels)


def test_exported_it_says_the_same(
    first: Path, make_job: MakeJob, options: Options, cache: DataCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    job = make_job(DISALIGN, stage1_dir=first)
    run(job, options, cache)
    monkeypatch.setattr(
        sys, "argv", ["export", str(job.run_dir), "--onnx", "--torch-export", "--out", str(tmp_path / "out")]
    )
    assert export.main() == 0
    images = torch.from_numpy(read_dense_outputs(job.run_dir).images)
    with torch.inference_mode():
        expected = sar_cls.load_model(job.run_dir)(images)
        assert torch.equal(sar_cls.load_model(tmp_path / "out" / "model.safetensors")(images), expected)
        program = torch.export.load(tmp_path / "out" / "model.pt2").module()
        torch.testing.assert_close(program(images), expected, rtol=1e-4, atol=1e-4)
    session = runtime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_the_script_finds_it_by_method(first: Path, options: Options, tmp_path: Path) -> None:
    short = Options(data_root=options.data_root, stage2_iterations=2)
    planned = two_stage.second_stage_run(CONFIGS, first, "disalign", short, tmp_path / "other")
    assert (planned.row, planned.run_dir.name, planned.epochs) == ("segformer_sar_disalign", "seed1-then2", 2)
    with pytest.raises(InputError, match=r"mislas is for classifiers and .* is of a segmentation net: choose disalign"):
        two_stage.second_stage_run(CONFIGS, first, "mislas", options, tmp_path / "other")
    with pytest.raises(InputError, match="counts iterations: give --iterations instead of --epochs"):
        two_stage.second_stage_run(CONFIGS, first, "disalign", Options(stage2_epochs=2), tmp_path / "other")
    lines = two_stage.summary(read_record(first), first).splitlines()
    assert lines[0].startswith("last iteration: mIoU ")
    assert lines[-1] == f"checkpoint: {first / LAST}"


def test_shortened_it_is_marked_in_iterations(
    first: Path, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DISALIGN, row="segformer_sar_disalign", stage1_dir=first)
    record = run(job, Options(data_root=options.data_root, stage2_iterations=2), cache)
    record = {**record, "stage1": {**record["stage1"], "epochs": 2}}
    suite = load_suite(CONFIGS, "camvid")
    found = recipe_of(record, suite).deviations(suite.row("segformer_sar_disalign"))
    assert found[:2] == ["2 of 4 iterations", "stage 1: 2 of 6 iterations"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            'model["decode_head"]["classifier"] = dict(type="disalgn")',
            "unknown classifier 'disalgn': choose one of disalign",
        ),
        ('model["decode_head"]["classifier"] = dict(type="disalign", confidnce=1)', "has no argument 'confidnce'"),
        (
            'model["decode_head"]["classifier"] = dict(type="disalign", confidence="sure")',
            "unknown confidence 'sure': choose one of linear, normalized",
        ),
        ('model["decode_head"]["type"] = "SegformerHead"', "takes no classifier; write RegularizedSegformerHead"),
        ('posthoc = dict(type="tau_norm")', "posthoc corrects classifiers"),
    ],
)
def test_bad_input_is_one_sentence(
    change: str, message: str, first: Path, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    text = DISALIGN.replace("_base_", "_base_") + "\n".join(
        ["model = dict(decode_head=dict())" if change.startswith("model") else "", change, ""]
    )
    job = make_job(text, stage1_dir=first)
    with pytest.raises(InputError, match=message) as error:
        run(job, options, cache)
    assert "\n" not in str(error.value)
    assert not job.run_dir.exists()


def test_a_stage_without_calibration_is_refused() -> None:
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    from sar_cls.engine.config import row_config

    config = row_config(Source(CONFIGS / "camvid" / "segformer.py"))
    config.model.type = "SecondStageSegmentor"
    with DefaultScope.overwrite_default_scope("mmseg"), pytest.raises(ValueError, match="trains a calibration: give"):
        MODELS.build(config.model)


def test_stages_of_two_kinds_are_refused(
    first: Path, make_job: MakeJob, options: Options, cache: DataCache, tmp_path: Path
) -> None:
    classifier = make_job(TINY, row="classifier")
    run(classifier, Options(epochs=1))
    with pytest.raises(InputError, match=r"is of a classifier and .* is a second stage of a segmentation net"):
        run(make_job(DISALIGN, row="one", stage1_dir=classifier.run_dir), options, cache)
    mislas = f'_base_ = "{cli.CONFIGS}/digits_lt/mislas.py"\n'
    with pytest.raises(InputError, match=r"is of a segmentation net and .* is a second stage of a classifier"):
        run(make_job(mislas, row="two", stage1_dir=first), options, cache)
    with pytest.raises(InputError, match="features are kept of classifiers alone"):
        make_features(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net["segmentor"].update(type="BaseSegmentor"), "the segmentor must be one of EncoderDecoder"),
        (lambda net: net["segmentor"]["decode_head"].update(type="os.system"), "is no name of a module"),
        (lambda net: net["segmentor"]["decode_head"].update(type="EncoderDecoder"), "is no part of a net"),
        (lambda net: net["segmentor"].update(decode_head=[]), "the decode_head is missing"),
        (lambda net: net["segmentor"].update(test_cfg=None), "test_cfg must say whole or slide"),
        (lambda net: net["backbone"].update(name="file:/x"), "is neither timm:NAME nor torchvision:NAME"),
        (lambda net: net["dataset"].update(name="../x"), "the data set is unknown"),
        (lambda net: net["dataset"].update(split=3), "the entry 'split' of the data set is unknown"),
    ],
)
def test_a_planted_net_is_refused(change: Callable[[dict], Any], message: str, first: Path, tmp_path: Path) -> None:
    for name in (LAST, NET):
        (tmp_path / name).write_bytes((first / name).read_bytes())
    net = json.loads((tmp_path / NET).read_text())
    change(net)
    (tmp_path / NET).write_text(json.dumps(net))
    with pytest.raises(InputError, match=message):
        sar_cls.load_model(tmp_path)


def test_a_run_from_before_is_read_from_its_config(first: Path, tmp_path: Path) -> None:
    for name in (LAST, "config.py"):
        (tmp_path / name).write_bytes((first / name).read_bytes())
    images = torch.from_numpy(read_dense_outputs(first).images)
    with torch.inference_mode():
        assert torch.equal(sar_cls.load_model(tmp_path)(images), sar_cls.load_model(first)(images))


def test_a_cascade_is_loaded_exported_and_gets_a_second_stage(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OCRNet's two heads: mmseg wants their number beside their list."""
    write_cityscapes(tmp_path / "data")
    options = Options(data_root=str(tmp_path / "data"))
    first = make_job(CASCADE, row="first")
    run(first, options)
    second = make_job(CASCADE_DISALIGN, row="second", stage1_dir=first.run_dir)
    assert run(second, options)["stage1"]["run_id"] == read_record(first.run_dir)["run_id"]
    before, after = state(first.run_dir), state(second.run_dir)
    added = {key for key in after if key not in before}
    assert added
    assert all(key.startswith("decode_head.1.calibration.") for key in added)
    assert all(torch.equal(before[key], after[key]) for key in after if key not in added)
    images = torch.randint(256, (2, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for job in (first, second):
        net = sar_cls.load_model(job.run_dir)
        with torch.inference_mode():
            assert net(images).shape == (2, 19, 32, 48)
        pytest.importorskip("safetensors")
        out = job.run_dir / "out"
        monkeypatch.setattr(sys, "argv", ["export", str(job.run_dir), "--out", str(out)])
        assert export.main() == 0
        with torch.inference_mode():
            torch.testing.assert_close(sar_cls.load_model(out / "model.safetensors")(images), net(images))
