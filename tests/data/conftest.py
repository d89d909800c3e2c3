"""A small image folder, and how many of its files are decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sar_cls.data import folder as folder_module

from .image_folders import CLASSES, picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train: 3, 4 and 5 images; test: 2 each."""
    root = tmp_path / "images"
    for split, base in (("train", 3), ("test", 2)):
        for c, name in enumerate(CLASSES):
            place = root / split / name
            place.mkdir(parents=True)
            for i in range(base + c * (split == "train")):
                Image.fromarray(picture(100 * c + i + 50 * (split == "test"))).save(place / f"{i:02}.png")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows at every decoding, by the number of files."""
    calls: list[int] = []
    original = folder_module.decode

    def counting(files, title, size=None):
        calls.append(len(files))
        return original(files, title, size)

    monkeypatch.setattr(folder_module, "decode", counting)
    return calls
