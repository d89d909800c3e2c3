"""A published ResNet-18, and a way to write a file of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sar_cls.torchvision_shim import import_torchvision

from .state_files import State, randomised


@pytest.fixture(scope="session")
def published() -> State:
    """As torchvision and timm name a ResNet-18 of 10 classes."""
    return randomised(import_torchvision().models.resnet18(num_classes=10))


@pytest.fixture
def file(tmp_path: Path):
    def save(content, name: str = "weights.pth") -> Path:
        path = tmp_path / name
        if name.endswith(".safetensors"):
            from safetensors.torch import save_file

            save_file({key: value.contiguous() for key, value in content.items()}, path)
        else:
            torch.save(content, path)
        return path

    return save
