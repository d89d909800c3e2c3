"""A setting that takes milliseconds: 8x8 images in batches of 8."""

from __future__ import annotations

import pytest
import torch

from sar_cls.mm.loaders import DataSplits
from sar_cls.speed.setting import Setting, random_images

NUM_CLASSES = 10


@pytest.fixture(scope="session")
def splits() -> DataSplits:
    train = random_images(60, "train", num_classes=NUM_CLASSES, size=8)
    return DataSplits(train, random_images(40, "test", num_classes=NUM_CLASSES, size=8))


@pytest.fixture
def setting() -> Setting:
    return Setting("resnet32", torch.device("cpu"), batch_size=8, steps=2, workers=1)
