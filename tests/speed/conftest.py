"""A setting that takes milliseconds: 8x8 images in batches of 8."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sar_cls.mm.loaders import DataSplits
from sar_cls.speed.setting import Setting, random_images

NUM_CLASSES = 10


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """One thread for every test here: on tensors this small more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def splits() -> DataSplits:
    train = random_images(60, "train", num_classes=NUM_CLASSES, size=8)
    return DataSplits(train, random_images(40, "test", num_classes=NUM_CLASSES, size=8))


@pytest.fixture
def setting() -> Setting:
    return Setting("resnet32", torch.device("cpu"), batch_size=8, steps=2, workers=1)
