"""Tiny sets of images with masks in their official layouts, and configs of segmentation nets that train on them in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sar_cls.cli import CONFIGS


def write_camvid(root: Path, n: int = 3, size: tuple[int, int] = (12, 16), suffix: str = ".png") -> Path:
    """A tiny CamVid in the official layout; every class, and void, is in every mask, and its colour tells the class."""
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (12, 3))
    for split in ("train", "val", "test"):
        (root / "CamVid" / split).mkdir(parents=True)
        (root / "CamVid" / f"{split}annot").mkdir()
        for index in range(n):
            mask = np.roll(np.arange(size[0] * size[1]) * 12 // (size[0] * size[1]), 7 * index).reshape(size)
            image = colours[mask] + rng.integers(-40, 40, (*size, 3))
            Image.fromarray(image.astype(np.uint8)).save(root / "CamVid" / split / f"{split}{index}{suffix}")
            Image.fromarray(mask.astype(np.uint8)).save(root / "CamVid" / f"{split}annot" / f"{split}{index}.png")
    return root / "CamVid"


# Six iterations in three intervals, on a net of 82,300 parameters.
DENSE = f"""
_base_ = "{CONFIGS}/camvid/segformer.py"
weights = None
model = dict(
    backbone=dict(name="timm:test_efficientnet"),
    decode_head=dict(in_channels=[24, 32, 48, 64], channels=8),
)
data_preprocessor = dict(crop_size=(32, 32))
train_dataloader = dict(batch_size=2)
val_dataloader = dict(batch_size=2)
train_cfg = dict(max_iters=6, val_interval=2)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=6, by_epoch=False)]
"""
DENSE_SAR = DENSE + 'model["decode_head"]["regularizer"] = dict(type="SAR", embedding="linear+conv")\n'
