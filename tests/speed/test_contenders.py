"""The contenders do what their labels say."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmpretrain.datasets import CIFAR100
from mmpretrain.models.utils import ClsDataPreprocessor

from sar_cls.data import DeviceLoader, ImageSet
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.loops import DeviceTrainLoop
from sar_cls.mm.preprocessor import BatchPreprocessor
from sar_cls.mm.runner import DeviceRunner
from sar_cls.speed import contenders, cost, data_path, evaluation, other_pipelines, process, profile, rounds
from sar_cls.speed.rounds import Contender
from sar_cls.speed.setting import LEARNING_RATE, Setting, setting_config


def close(entrants: list[Contender]) -> None:
    for entrant in entrants:
        entrant.close()


def test_all_steps_in_rounds(setting: Setting, splits: DataSplits) -> None:
    entrants = contenders.build(setting, splits)
    try:
        expected = [name for name in contenders.NAMES if name != "stock_fp32"]
        assert [entrant.name for entrant in entrants] == expected
        timings = rounds.measure(entrants, 1, setting.device, say=lambda line: None)
    finally:
        close(entrants)
    assert all(timing.images == 16 and timing.seconds[0] > 0 and timing.mode == "eager" for timing in timings)


@pytest.mark.parametrize("name", ["bare", "stock"])
def test_a_net_of_mmpretrain_s_configs(name: str, setting: Setting, splits: DataSplits) -> None:
    (entrant,) = contenders.build(replace(setting, net="resnet18", steps=1), splits, only=(name,))
    try:
        entrant.run()
    finally:
        entrant.close()


def test_beside_bf16_the_published_pipeline_stays_in_fp32(
    setting: Setting, splits: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    autocast = other_pipelines.autocast
    monkeypatch.setattr(
        other_pipelines, "autocast", lambda device, precision: used.append(precision) or autocast(device, precision)
    )
    entrants = contenders.build(replace(setting, precision="bf16"), splits, only=("stock", "stock_fp32"))
    try:
        assert [entrant.name for entrant in entrants] == ["stock", "stock_fp32"]
        assert entrants[1].label.endswith("fp32 as published")
        for entrant in entrants:
            entrant.run()
    finally:
        close(entrants)
    assert used == ["bf16"] * setting.steps + ["fp32"] * setting.steps


@pytest.mark.parametrize(
    ("name", "regularizer"), [("loop", None), ("sar", "SAR"), ("car", "CAR"), ("fixed", "FixedAnchors")]
)
def test_the_loop_is_that_of_a_run(
    name: str, regularizer: str | None, setting: Setting, splits: DataSplits, tmp_path: Path
) -> None:
    setting = replace(setting, precision="bf16", memory_format="contiguous", optimizer="foreach")
    runner = contenders.own_runner(setting, splits, regularizer, tmp_path)
    loop, model = runner.train_loop, runner.bare_model
    assert type(loop) is DeviceTrainLoop
    assert type(loop.dataloader) is DeviceLoader
    assert type(model.data_preprocessor) is BatchPreprocessor
    assert {"HistoryHook", "ProgressHook", "ParamSchedulerHook"} <= {type(hook).__name__ for hook in runner.hooks}
    assert type(model.head.regularizer).__name__ == (regularizer or "NoneType")
    assert model.backbone.net.conv1.weight.is_contiguous()
    assert runner.optim_wrapper.precision == "bf16"
    assert runner.optim_wrapper.optimizer.param_groups[0]["foreach"] is True
    batch = next(iter(loop.dataloader))
    assert set(batch["draws"]) == {"crop_offset", "flip", "partner", "lam"}
    before = model.head.fc.weight.clone()
    row = loop.run_epoch()
    assert (row["images"], loop.iter, loop.epoch) == (16, 2, 1)
    assert not torch.equal(model.head.fc.weight, before)
    assert not (tmp_path / "last.pth").exists()


@pytest.mark.parametrize("resumed", [False, True], ids=["anew", "resumed"])
def test_initial_weights_are_drawn_on_the_cpu_whatever_the_device(resumed: bool, tmp_path: Path) -> None:
    calls: list[str] = []
    if resumed:
        (tmp_path / "last.pth").touch()

    class Model(torch.nn.Module):
        def to(self, device: Any) -> Any:  # type: ignore[override]
            calls.append(str(device))
            return self

        def init_weights(self) -> None:
            calls.append("init_weights")

    runner = DeviceRunner.__new__(DeviceRunner)
    runner.model, runner.device, runner._distributed = Model(), torch.device("cuda:1"), False
    runner._work_dir = str(tmp_path)
    runner._init_model_weights()
    assert calls == ([] if resumed else ["cpu", "init_weights", "cuda:1"])


@pytest.mark.cuda
def test_a_seed_means_the_same_weights_on_every_device(setting: Setting, splits: DataSplits, tmp_path: Path) -> None:
    runners = [
        contenders.own_runner(replace(setting, device=torch.device(device)), splits, "SAR", tmp_path / device)
        for device in ("cpu", "cuda")
    ]
    expected, got = (runner.bare_model.state_dict() for runner in runners)
    assert all(torch.equal(got[name].cpu(), value) for name, value in expected.items())


def test_the_bare_step_is_one_of_sgd(setting: Setting, splits: DataSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    build_model = contenders.build_model
    monkeypatch.setattr(contenders, "build_model", lambda *given: made.append(build_model(*given)) or made[-1])
    torch.manual_seed(0)
    contender = contenders.bare_step(replace(setting, steps=1), splits)
    (model,) = made
    config = setting_config(setting, 10, mixup=False)
    weight, mean, std = model.head.fc.weight, config.data_preprocessor.mean, config.data_preprocessor.std
    # The first step from the formula: no momentum yet, weight decay added to the gradient.
    images = (splits.train.images[:8].double() - torch.tensor(mean)) / torch.tensor(std)
    twin = contenders.build_model(config, setting)
    twin.load_state_dict(model.state_dict())
    twin.double()
    logits = twin(images.permute(0, 3, 1, 2))
    loss = -logits.log_softmax(dim=1)[torch.arange(8), splits.train.labels[:8]].mean()
    loss.backward()
    expected = twin.head.fc.weight - LEARNING_RATE * (twin.head.fc.weight.grad + 2e-4 * twin.head.fc.weight)
    contender.run()
    torch.testing.assert_close(weight.double(), expected, rtol=1e-4, atol=1e-6)


def constant_images() -> ImageSet:
    """Image i has the colour 10 * (i + 1) all over: crops and flips can only add black."""
    colours = torch.arange(10, 70, 10, dtype=torch.uint8)
    return ImageSet(
        colours[:, None, None, None].expand(6, 8, 8, 3).contiguous(),
        torch.arange(6) % 3,
        ("a", "b", "c"),
        "constant",
        "train",
    )


def test_stock_images_are_ours() -> None:
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    image_set = constant_images()
    dataset = other_pipelines.pil_dataset(image_set, mean, std)
    assert type(dataset).__module__.startswith("torchvision")
    assert len(dataset) == 6  # type: ignore[arg-type]
    for index in range(6):
        image, label = dataset[index]
        assert label == index % 3
        assert image.shape == (3, 8, 8)
        expected = [(10 * (index + 1) - m) / s for m, s in zip(mean, std, strict=True)]
        assert image.amax(dim=(1, 2)).tolist() == pytest.approx(expected, abs=1e-5)


def test_mmpretrain_runs_its_own_classes_on_our_images(setting: Setting, splits: DataSplits, tmp_path: Path) -> None:
    runner = other_pipelines._mmpretrain_runner(replace(setting, workers=0), splits, str(tmp_path))
    model, dataset = runner.model, runner.train_dataloader.dataset
    assert isinstance(dataset, CIFAR100)
    assert len(dataset) == 60
    assert np.array_equal(dataset.get_data_info(7)["img"], splits.train.images[7].numpy())
    assert dataset.get_data_info(7)["gt_label"] == 7
    assert type(model.data_preprocessor) is ClsDataPreprocessor
    assert type(model.head).__name__ == "LinearClsHead"
    hooks = {type(hook).__name__ for hook in runner.hooks}
    assert {"RuntimeInfoHook", "IterTimerHook", "LoggerHook", "ParamSchedulerHook"} <= hooks
    data = model.data_preprocessor(next(iter(runner.train_dataloader)), True)
    scores = torch.stack([sample.gt_score for sample in data["data_samples"]])
    assert scores.shape == (8, 10)
    assert scores.sum(dim=1).tolist() == pytest.approx([1.0] * 8)
    assert data["inputs"].shape == (8, 3, 8, 8)


def test_data_paths_in_rounds(setting: Setting, splits: DataSplits) -> None:
    entrants = data_path.build(setting, splits)
    try:
        timings = rounds.measure(entrants, 1, setting.device, say=lambda line: None)
    finally:
        close(entrants)
    assert [(timing.name, timing.images) for timing in timings] == [("device", 160), ("dataloader", 16), ("v2", 160)]


def test_our_data_path_goes_through_the_preprocessor(
    setting: Setting, splits: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    forward = BatchPreprocessor.forward

    def noting(self: BatchPreprocessor, data: dict, training: bool = False) -> dict:
        result = forward(self, data, training)
        shapes.append((tuple(result["inputs"].shape), training))
        return result

    monkeypatch.setattr(BatchPreprocessor, "forward", noting)
    entrants = data_path.build(setting, splits)
    entrants[0].run()
    close(entrants)
    assert shapes == [((8, 3, 8, 8), True)] * (2 * data_path.BATCHED)


def test_evaluation_in_rounds(setting: Setting, splits: DataSplits) -> None:
    entrants = evaluation.build(setting, splits, (10, 40))
    assert [(entrant.name, entrant.images) for entrant in entrants] == [
        ("evaluation", 40), ("forward10", 40), ("forward40", 40),
    ]  # fmt: skip
    for entrant in entrants:
        entrant.run()


def test_a_recorded_step_keeps_its_memory() -> None:
    """A graph holds addresses, not tensors: were the step let go, its replays would read what others wrote there."""

    class Recording:
        def warm_up(self, step: Callable[[], None]) -> list[str]:
            step()
            return []

        def record(self, step: Callable[[], None]) -> Callable[[], None]:
            return lambda: done.append("replayed")

    done: list[str] = []
    batch = torch.zeros(4)
    alive = weakref.ref(batch)

    def stepping(inputs: torch.Tensor) -> Callable[[], None]:
        return lambda: done.append(f"{len(inputs)} images")

    replay = contenders.recorded(stepping(batch), Recording())
    del batch
    gc.collect()
    assert done == ["4 images"] * 3
    replay()
    assert done[3:] == ["replayed"]
    assert alive() is not None
    del replay
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("of", ["bare", "profile", "cost"])
def test_what_was_timed_before_does_not_decide_how_float32_is_computed(
    of: str, setting: Setting, splits: DataSplits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A graph is recorded when its step is built, and the contender timed last may have allowed TF32."""
    seen: list[bool] = []

    class Stop(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        seen.append(torch.backends.cudnn.allow_tf32)
        raise Stop

    module = {"bare": contenders, "profile": profile, "cost": cost}[of]
    begin = {
        "bare": lambda: contenders.bare_step(setting, splits),
        "profile": lambda: profile.profile_step(setting, splits, tmp_path),
        "cost": lambda: cost.measure_cost(setting, splits, "none"),
    }
    monkeypatch.setattr(module, "own_runner" if of == "profile" else "build_model", stop)
    try:
        process.as_elsewhere()
        with pytest.raises(Stop):
            begin[of]()
    finally:
        process.as_here()
    assert seen == [False]


@pytest.mark.cuda
@pytest.mark.parametrize("mode", ["eager", "cudagraph"])
def test_steps_on_cuda(mode: str, setting: Setting, splits: DataSplits) -> None:
    setting = replace(setting, device=torch.device("cuda"), mode=mode, steps=5)
    entrants = contenders.build(setting, splits)
    try:
        timings = rounds.measure(entrants, 1, setting.device, say=lambda line: None)
    finally:
        close(entrants)
    assert [timing.mode for timing in timings] == [mode] * 6 + ["eager"] * 2
