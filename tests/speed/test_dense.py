"""The contenders of a segmentation net do what their labels say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from sar_cls.commands import speed
from sar_cls.data import VOID
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.loops import DeviceTrainLoop
from sar_cls.speed import dense, report, rounds
from sar_cls.speed.setting import LEARNING_RATE, Setting


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small backbone on crops of 32x32."""
    whole = dense.dense_config

    def small(*arguments: Any) -> Any:
        config = whole(*arguments)
        config.model.backbone.name = "timm:test_efficientnet"
        config.model.decode_head.in_channels = [24, 32, 48, 64]
        config.data_preprocessor.crop_size = (32, 32)
        return config

    monkeypatch.setattr(dense, "dense_config", small)


@pytest.fixture
def scenes() -> DataSplits:
    return DataSplits(dense.random_scenes(6, "train", (40, 48)), dense.random_scenes(2, "test", (40, 48)))


@pytest.fixture
def setting() -> Setting:
    return Setting("segformer", torch.device("cpu"), batch_size=2, steps=2)


def test_all_steps_in_rounds(setting: Setting, scenes: DataSplits) -> None:
    entrants = dense.build_dense(setting, scenes)
    try:
        assert [entrant.name for entrant in entrants] == ["bare", "loop", "sar", "car", "protoseg"]
        timings = rounds.measure(entrants, 1, setting.device, say=lambda line: None)
    finally:
        for entrant in entrants:
            entrant.close()
    assert all(timing.images == 4 and timing.seconds[0] > 0 and timing.mode == "eager" for timing in timings)


@pytest.mark.parametrize("name", ["loop", "sar", "car", "protoseg"])
def test_a_round_is_an_interval_of_the_row_s_own_run(
    name: str, setting: Setting, scenes: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = []
    run_epoch = DeviceTrainLoop.run_epoch
    monkeypatch.setattr(DeviceTrainLoop, "run_epoch", lambda self: rows.append(run_epoch(self)))
    entrant = dense.own_step(setting, scenes, name)
    try:
        entrant.run()
    finally:
        entrant.close()
    (row,) = rows
    assert (row["iteration"], row["images"], row["lr"]) == (2, 4, LEARNING_RATE)
    expected = {"sar": "decode.loss_aux", "car": "decode.loss_intra", "protoseg": "decode.loss_ppc"}.get(name)
    extra = {column for column in row if column.startswith("decode.loss_")} - {"decode.loss_ce"}
    assert (expected in extra) if expected else not extra


def test_the_bare_step_s_batch_is_ready(setting: Setting, scenes: DataSplits) -> None:
    config = dense.dense_config(setting, dense.source_of("segformer", "loop"))
    inputs, masks = dense._batch(setting, scenes, config)
    assert inputs.shape == (2, 3, 32, 32)
    assert masks.shape == (2, 32, 32)
    assert torch.equal(masks, scenes.train.labels[:2, :32, :32].long())
    torch.testing.assert_close(inputs[0, :, 3, 5], scenes.train.images[0, 3, 5].float() / 127.5 - 1)


def test_random_scenes_have_every_class_and_void() -> None:
    found = dense.random_scenes(4, "train")
    assert found.images.shape == (4, 240, 320, 3)
    assert min(found.counts) > 0
    assert bool((found.labels == VOID).any())


def test_the_script_prints_its_table(
    scenes: DataSplits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert speed.DENSE_NETS == dense.NETS
    assert speed.DENSE_CONTENDERS == dense.NAMES
    monkeypatch.setattr(dense, "load_masked_images", lambda data_root: (scenes, "images: given"))
    file = tmp_path / "speed.json"
    monkeypatch.setattr(
        sys, "argv", ["speed.py", "--dense", "segformer", "--rounds", "1", "--steps", "1", "--batch-size", "2", "--threads", "1",
                      "--only", "bare", "loop", "--json", str(file)],
    )  # fmt: skip
    assert report.run(speed.parse(), "cpu") == 0  # and no images of classifiers are looked for
    assert "### dense training step: segformer, batch 2, fp32" in capsys.readouterr().out
    (result,) = json.loads(file.read_text())["results"]
    assert [step["name"] for step in result["figures"]] == ["bare", "loop"]


def test_steps_that_it_does_not_know_are_refused(setting: Setting, scenes: DataSplits) -> None:
    with pytest.raises(InputError, match="none of the steps that --dense knows: bare, loop, sar, car"):
        dense.build_dense(setting, scenes, ["stock"])


def test_missing_images_are_random_ones_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    splits, note = dense.load_masked_images(None)
    assert note.startswith("images: random ones of CamVid's size")
    assert splits.train.image_size == (240, 320)
    with pytest.raises(InputError, match="no CamVid in"):
        dense.load_masked_images(str(tmp_path))
