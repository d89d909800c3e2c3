"""What is measured: net, batch, precision, memory format, mode, device; and the images for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from sar_cls.data import ImageSet
from sar_cls.engine.config import row_config
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits, load_splits
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.rows import Source, load_suite

# The nets of the benchmark, by the row whose network, optimizer and preprocessing is taken.
NETS = {"resnet32": ("cifar100_lt", "ce"), "resnet18": ("cifar100", "resnet18"), "resnet50": ("cifar100", "resnet50")}
# Nothing is learned here; a small rate keeps the numbers finite for as many steps as anybody cares to time.
LEARNING_RATE = 1e-3
MIXUP_ALPHA = 1.0


@dataclass(frozen=True)
class Setting:
    """One configuration to measure.

    Attributes:
        net: a key of ``NETS``.
        device: where.
        batch_size: images in a batch.
        precision: "fp32" or "bf16".
        memory_format: "channels_last" or "contiguous", of this project's contenders and the bare step.
        mode: "eager", "compile" or "cudagraph", likewise.
        optimizer: "default", "foreach" or "fused": the implementation of SGD.
        steps: training steps in a round.
        workers: processes of a DataLoader.
    """

    net: str
    device: torch.device
    batch_size: int = 128
    precision: str = "fp32"
    memory_format: str = "channels_last"
    mode: str = "eager"
    optimizer: str = "default"
    steps: int = 20
    workers: int = 2

    @property
    def title(self) -> str:
        """In a few words, for headings and progress lines."""
        parts = [self.net, f"batch {self.batch_size}", self.precision, self.memory_format, self.mode]
        if self.optimizer != "default":
            parts.append(f"{self.optimizer} SGD")
        return f"{', '.join(parts)} on {self.device.type}"


def source_of(net: str) -> Source:
    """What the row of a net runs."""
    suite, row = NETS[net]
    return load_suite(CONFIGS, suite).row(row).source


def setting_config(
    setting: Setting,
    num_classes: int,
    regularizer: str | None = None,
    *,
    mixup: bool = True,
    source: Source | None = None,
) -> Config:
    """The config of a row, as a run would have it, with the setting applied.

    Args:
        setting: what to measure.
        num_classes: of the images.
        regularizer: its name, or None.
        mixup: whether inputs and labels are mixed.
        source: what a row runs, in place of the setting's net and ``regularizer``.
    """
    config = row_config(source or source_of(setting.net))
    head = config.model.head
    head.num_classes = num_classes
    if source is None:
        head.regularizer = None if regularizer is None else dict(type=regularizer)
    config.train_dataloader = dict(
        batch_size=setting.batch_size, dataset=dict(name="cifar100"), batches_per_epoch=setting.steps
    )
    config.optim_wrapper.precision = setting.precision
    optimizer = config.optim_wrapper.optimizer
    optimizer.lr = LEARNING_RATE
    if setting.optimizer != "default":
        optimizer[setting.optimizer] = True
    if mixup:
        head.loss = dict(type="CrossEntropyLoss", use_soft=True)
        config.data_preprocessor.update(mixup_alpha=MIXUP_ALPHA, num_classes=num_classes)
    elif source is not None:
        head.loss = dict(type="CrossEntropyLoss")  # a row may have one for mixed labels
    return config


def load_images(data_root: str | None) -> tuple[DataSplits, str]:
    """CIFAR-100 where it is, else random images of the same number and size.

    Args:
        data_root: folder that holds the set; None looks in the default one.

    Returns:
        The images and a sentence about them.

    Raises:
        InputError: a folder was named and CIFAR-100 is not there, or is damaged.
    """
    try:
        return load_splits(dict(name="cifar100"), data_root), "images: CIFAR-100"
    except InputError:
        if data_root is not None or _default_set_is_there():
            raise
    splits = DataSplits(random_images(50_000, "train"), random_images(10_000, "test"))
    return splits, "images: random ones of CIFAR-100's number and size (give --data-root for the real ones)"


def _default_set_is_there() -> bool:
    return any(Path("data").glob("cifar100*")) or any(Path("data").glob("cifar-100*"))


def random_images(number: int, split: str, *, num_classes: int = 100, size: int = 32) -> ImageSet:
    """Uniform uint8 noise [number, size, size, 3] with labels in turn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, size, size, 3), dtype=torch.uint8, generator=generator)
    labels = torch.arange(number) % num_classes
    classes = tuple(f"class {index}" for index in range(num_classes))
    return ImageSet(images, labels, classes, name="random", split=split)


def settings(arguments: Any, device: torch.device) -> list[Setting]:
    """All combinations that a command line asks for."""
    return [
        Setting(
            net=net,
            device=device,
            batch_size=arguments.batch_size or 128,
            precision=precision,
            memory_format=arguments.memory_format,
            mode=arguments.mode,
            optimizer=arguments.optimizer,
            steps=arguments.steps,
            workers=arguments.workers,
        )
        for net in arguments.net
        for precision in arguments.precision
    ]
