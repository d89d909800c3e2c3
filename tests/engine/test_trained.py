"""A trained net outside of the benchmark: loaded from a run or a file, it says what the run's own evaluation said."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, TINY_SAR

import sar_cls
from sar_cls import cli
from sar_cls.commands import export
from sar_cls.data import load_image_set
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.trained import load_model, save_safetensors
from sar_cls.errors import InputError
from sar_cls.runs.folder import NET
from sar_cls.runs.outputs import read_outputs

MISLAS = f"""
_base_ = "{cli.CONFIGS}/digits_lt/mislas.py"
train_cfg = dict(max_epochs=1)
"""


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return load_image_set("digits", "test").images


@pytest.fixture
def run(make_job: Callable[..., Any], cache: engine.DataCache) -> Path:
    job = make_job(TINY_SAR)
    engine.run(job, Options(), cache)
    return job.run_dir


def test_logits_are_those_of_the_run(run: Path, images: torch.Tensor) -> None:
    outputs = read_outputs(run)
    for epoch, expected in (("last", outputs.logits), ("best", outputs.logits_best)):
        model = sar_cls.load_model(run, epoch=epoch)
        assert not model.training
        with torch.inference_mode():
            np.testing.assert_allclose(model(images).numpy(), expected, rtol=1e-5, atol=1e-5)
        assert model.image_size == (8, 8)
    names, probabilities = model.classify(images[:5])
    assert names == [str(model.classes[label]) for label in expected[:5].argmax(axis=1)]
    assert probabilities.shape == (5,)
    assert bool(((probabilities > 0.1) & (probabilities <= 1)).all())
    assert not [name for name, _ in model.named_parameters() if "regularizer" in name]
    with torch.inference_mode():
        assert torch.equal(load_model(run / "best.pth")(images), model(images))


def test_a_second_stage_with_its_own_classifier(
    run: Path, make_job: Callable[..., Any], cache: engine.DataCache, images: torch.Tensor
) -> None:
    job = make_job(MISLAS, row="second", stage1_dir=run)
    engine.run(job, Options(), cache)
    model = load_model(job.run_dir)
    with torch.inference_mode():
        np.testing.assert_allclose(model(images).numpy(), read_outputs(job.run_dir).logits, rtol=1e-5, atol=1e-5)


def test_safetensors_round_trip(run: Path, tmp_path: Path, images: torch.Tensor) -> None:
    pytest.importorskip("safetensors", reason="needs sar-cls[export]")
    model = load_model(run)
    save_safetensors(model, tmp_path / "net.safetensors")
    again = load_model(tmp_path / "net.safetensors")
    assert again.classes == model.classes
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))


def test_export_command(
    run: Path, tmp_path: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("safetensors", "onnx", "onnxscript"):
        pytest.importorskip(name, reason="needs sar-cls[export]")
    out = tmp_path / "exported"
    arguments = ["sar-cls export", str(run), "--out", str(out), "--torch-export", "--onnx"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert export.main() == 0
    written = [line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines() if line.startswith("wrote")]
    assert written == [str(out / f"model.{suffix}") for suffix in ("safetensors", "pt2", "onnx")]
    with torch.inference_mode():
        expected = load_model(run)(images)
        for count in (1, 7):
            program = torch.export.load(out / "model.pt2").module()
            torch.testing.assert_close(program(images[:count]), expected[:count])
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    session = runtime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 7):
        (logits,) = session.run(["logits"], {"images": images[:count].numpy()})
        np.testing.assert_allclose(logits, expected[:count].numpy(), rtol=1e-4, atol=1e-4)


class TestBadInput:
    def test_what_is_no_run(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file.txt").write_text("x")
        (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
        for path, says in (
            (tmp_path / "empty", "has no last.pth"),
            (tmp_path / "nowhere", "is no run"),
            (tmp_path / "file.txt", "is no run"),
            (tmp_path / "none.safetensors", "there is no file"),
            (tmp_path / "bad.safetensors", "is damaged"),
        ):
            with pytest.raises(InputError, match=says):
                load_model(path)
        with pytest.raises(InputError, match="choose last or best"):
            load_model(run, epoch="first")
        with pytest.raises(InputError, match="leave epoch out"):
            load_model(run / "last.pth", epoch="best")

    def test_a_description_of_another_net(self, run: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(run, tmp_path / "copy"))
        about = json.loads((copy / NET).read_text())
        about["in_channels"] = 32
        (copy / NET).write_text(json.dumps(about))
        with pytest.raises(InputError, match="does not fit the net"):
            load_model(copy)
        about["classifier"] = {"type": "os.system"}
        (copy / NET).write_text(json.dumps(about))
        with pytest.raises(InputError, match="the classifier must be one of"):
            load_model(copy)

    def test_an_old_run_without_the_size(
        self, make_job: Callable[..., Any], cache: engine.DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job(TINY)
        engine.run(job, Options(), cache)
        (job.run_dir / NET).unlink()  # its config.py tells the rest
        assert load_model(job.run_dir).image_size is None
        monkeypatch.setattr(sys, "argv", ["sar-cls export", str(job.run_dir), "--onnx"])
        with pytest.raises(InputError, match="add --image-size N"):
            export.main()


def test_anything_but_uint8_images_is_refused(run: Path, images: torch.Tensor) -> None:
    model = load_model(run)
    for wrong in (images.float() / 255, images.permute(0, 3, 1, 2), images[0]):
        with pytest.raises(ValueError, match=r"takes uint8 images \[N, H, W, 3\] with values from 0 to 255, and got "):
            model(wrong)
