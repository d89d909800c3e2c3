"""The data path alone, without mixup: images a second that are cropped, flipped, normalised and ready for a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sar_cls.data import DeviceLoader, InstanceBalanced
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.preprocessor import BatchPreprocessor
from sar_cls.speed.other_pipelines import endless, pil_loader, settling_steps
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender
from sar_cls.speed.setting import Setting, setting_config
from sar_cls.torchvision_shim import import_torchvision

DEVICE, DATALOADER, V2 = "device", "dataloader", "v2"
NAMES = (DEVICE, DATALOADER, V2)
# The batched paths are faster by an order of magnitude: more batches in a round, so that the clock has something to measure.
BATCHED = 10


def build(setting: Setting, splits: DataSplits) -> list[Contender]:
    """The three data paths, for one device."""
    config = setting_config(setting, len(splits.train.classes), mixup=False)
    return [
        _device_path(setting, splits, config),
        _dataloader_path(setting, splits, config),
        _v2_path(setting, splits, config),
    ]


def _device_path(setting: Setting, splits: DataSplits, config: Any) -> Contender:
    arguments = {key: value for key, value in config.data_preprocessor.items() if key != "type"}
    preprocessor = BatchPreprocessor(**arguments, memory_format=setting.memory_format).to(setting.device)
    steps = setting.steps * BATCHED
    loader = DeviceLoader(
        splits.train.to(setting.device),
        setting.batch_size,
        InstanceBalanced(splits.train.labels),
        draw=preprocessor.draw,
        batches_per_epoch=steps,
    )

    def run() -> None:
        loader.set_epoch(loader.epoch + 1)
        for batch in loader:
            preprocessor(batch, True)

    label = "(f) this project: DeviceLoader and BatchPreprocessor"
    return Contender(DEVICE, label, steps * setting.batch_size, run, process=as_here)


def _dataloader_path(setting: Setting, splits: DataSplits, config: Any) -> Contender:
    batches = endless(pil_loader(setting, splits, config))

    def take(steps: int) -> None:
        for _ in range(steps):
            images, labels = next(batches)
            images.to(setting.device, non_blocking=True), labels.to(setting.device, non_blocking=True)

    return Contender(
        DATALOADER,
        f"(g) DataLoader and PIL, {setting.workers} workers",
        setting.steps * setting.batch_size,
        run=lambda: take(setting.steps),
        settle=lambda: take(settling_steps(setting)),
        close=batches.close,  # type: ignore[attr-defined]
    )


def _v2_path(setting: Setting, splits: DataSplits, config: Any) -> Contender:
    """Whole batches through torchvision's transforms, which draw one crop and one flip for all of a batch."""
    import_torchvision()
    from torchvision.transforms import v2

    size = splits.train.images.shape[1]
    transform = v2.Compose(
        [
            v2.RandomCrop(size, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(
                [value / 255 for value in config.data_preprocessor.mean],
                [value / 255 for value in config.data_preprocessor.std],
            ),
        ]
    )
    images = splits.train.images.to(setting.device).permute(0, 3, 1, 2).contiguous()
    labels = splits.train.labels.to(setting.device)
    steps = setting.steps * BATCHED

    def run() -> None:
        order: Tensor = torch.randint(len(images), (steps, setting.batch_size)).to(setting.device)
        for index in order:
            transform(images[index]), labels[index]

    label = "(h) torchvision.transforms.v2 on batches (one crop and flip a batch)"
    return Contender(V2, label, steps * setting.batch_size, run)
