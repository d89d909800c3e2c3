"""The training steps of a segmentation net that are compared: the bare one, and this project's with and without regularizers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from sar_cls.data import VOID
from sar_cls.data.augment import normalize
from sar_cls.data.masked_set import MaskedImageSet
from sar_cls.engine.config import row_config
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits, load_splits
from sar_cls.speed.contenders import BARE, LOOP, build_model, contender_of, layout_of, ready_runner
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender, repeat
from sar_cls.speed.setting import LEARNING_RATE, Setting
from sar_cls.steps.precision import autocast
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.rows import Source, load_suite

SUITE, NETS = "camvid", ("segformer", "uper")
_LABELS = {
    LOOP: "(b) this project: data, augmentation, logging",
    "sar": "(c) the same with SAR",
    "car": "(c) the same with CAR",
    "protoseg": "(c) the same with ProtoSeg",
}
NAMES = (BARE, *_LABELS)
BATCH = 8
# Iterations that no measurement comes to.
_ENDLESS = 10_000


def build_dense(setting: Setting, splits: DataSplits, only: Sequence[str] = NAMES) -> list[Contender]:
    """The contenders named in ``only``, in the order of ``NAMES``.

    Args:
        setting: with a net of ``NETS``; its optimizer is the default one.
        splits: images with masks.
        only: names.

    Raises:
        InputError: none of them is one of a segmentation net.
    """
    chosen = [name for name in NAMES if name in only]
    if not chosen:
        raise InputError(f"--only names none of the steps that --dense knows: {', '.join(NAMES)}")
    torch._dynamo.reset()
    return [(bare_step if name == BARE else own_step)(setting, splits, name) for name in chosen]


def bare_step(setting: Setting, splits: DataSplits, name: str = BARE) -> Contender:
    """(a) Forward, scores at the size of the masks, cross-entropy, backward and optimizer on one batch that is ready."""
    config = dense_config(setting, source_of(setting.net, LOOP))
    model = build_model(config, setting, "mmseg")
    options = {key: value for key, value in config.optim_wrapper.optimizer.items() if key != "type"}
    optimizer = torch.optim.SGD(model.parameters(), **options)
    inputs, masks = _batch(setting, splits, config)

    def step() -> None:
        with autocast(setting.device, setting.precision):
            scores = F.interpolate(model(inputs, mode="tensor"), size=masks.shape[1:], mode="bilinear")
            loss = F.cross_entropy(scores.float(), masks, ignore_index=VOID)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Contender(
        name,
        "(a) bare step: forward, cross-entropy, backward, optimizer",
        setting.steps * setting.batch_size,
        run=lambda: repeat(step, setting.steps),
        process=as_here,
        settle=step,
        mode=lambda: "eager",
    )


def own_step(setting: Setting, splits: DataSplits, name: str = LOOP) -> Contender:
    """(b), (c) Intervals of a run as ``benchmarks/run.py`` starts it: the same runner, loop, loader, preprocessor and hooks."""
    folder = tempfile.TemporaryDirectory(prefix="sar_cls-speed-")
    source = source_of(setting.net, name)
    config = dense_config(setting, source)
    runner = ready_runner(setting, splits, config, source, _ENDLESS * setting.steps, Path(folder.name))
    return contender_of(runner, setting, name, _LABELS[name], folder)


def source_of(net: str, name: str) -> Source:
    """What the row of a contender runs."""
    row = net if name == LOOP else f"{net}_{name}"
    return load_suite(CONFIGS, SUITE).row(row).source


def dense_config(setting: Setting, source: Source) -> Config:
    """The config of a row, as a run would have it, with random weights, a constant small rate and the setting applied."""
    import sar_cls.mm.seg  # noqa: F401 (registers the parts, or says which extra they need)

    config = row_config(source)
    config.weights = None
    config.train_dataloader.batch_size = setting.batch_size
    config.train_cfg.update(max_iters=_ENDLESS * setting.steps, val_interval=setting.steps)
    config.param_scheduler = None
    config.optim_wrapper.precision = setting.precision
    config.optim_wrapper.optimizer.lr = LEARNING_RATE
    return config


def load_masked_images(data_root: str | None) -> tuple[DataSplits, str]:
    """CamVid where it is, else random images with masks of its size; and a sentence about them.

    Raises:
        InputError: a folder was named and CamVid is not there, or is damaged.
    """
    try:
        return load_splits(dict(name=SUITE), data_root), "images: CamVid"
    except InputError:
        if data_root is not None or (Path("data") / "CamVid").is_dir():
            raise
    splits = DataSplits(random_scenes(64, "train"), random_scenes(8, "test"))
    return splits, "images: random ones of CamVid's size (give --data-root for the real ones)"


def random_scenes(number: int, split: str, size: tuple[int, int] = (240, 320), num_classes: int = 11) -> MaskedImageSet:
    """Uniform noise uint8 [number, H, W, 3] with masks of blocks of 8x8 pixels, a tenth of them void."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, *size, 3), dtype=torch.uint8, generator=generator)
    blocks = torch.randint(num_classes, (number, -(-size[0] // 8), -(-size[1] // 8)), generator=generator)
    blocks[torch.rand(blocks.shape, generator=generator) < 0.1] = VOID
    masks = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, : size[0], : size[1]].to(torch.uint8)
    classes = tuple(f"class {index}" for index in range(num_classes))
    return MaskedImageSet(images, masks.contiguous(), classes, "random", split)


def _batch(setting: Setting, splits: DataSplits, config: Any) -> tuple[Tensor, Tensor]:
    """The first images as the net takes them: the upper left corners, float32 [N, 3, h, w], and masks int64 [N, h, w]."""
    height, width = config.data_preprocessor.crop_size
    images = splits.train.images[: setting.batch_size, :height, :width].to(setting.device)
    inputs = normalize(images, config.data_preprocessor.mean, config.data_preprocessor.std)
    masks = splits.train.labels[: setting.batch_size, :height, :width].to(setting.device).long()
    return inputs.contiguous(memory_format=layout_of(setting)), masks
