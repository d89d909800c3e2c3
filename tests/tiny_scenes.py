"""Tiny sets of images with masks in their official layouts, and configs of segmentation nets that train on them in a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.cli import CONFIGS

if TYPE_CHECKING:
    from sar_cls.engine.job import Job


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
DISALIGN = f"""
_base_ = "{CONFIGS}/camvid/disalign.py"
train_dataloader = dict(batch_size=2)
val_dataloader = dict(batch_size=2)
data_preprocessor = dict(crop_size=(32, 32))
train_cfg = dict(max_iters=4, val_interval=2)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=4, by_epoch=False)]
"""

# mmseg's own pipelines and recipe, on a tiny MiT, which has no batch norm; that of the head is a SyncBN.
STREETS = f"""
_base_ = "{CONFIGS}/cityscapes/segformer_b4.py"
crop = (32, 32)
model = dict(
    backbone=dict(
        init_cfg=None, embed_dims=8, num_layers=[1] * 4, num_heads=[1, 1, 2, 2], drop_rate=0.0, drop_path_rate=0.0
    ),
    decode_head=dict(in_channels=[8, 8, 16, 16], channels=8, regularizer=dict(type="CAR"), dropout_ratio=0.0),
    test_cfg=dict(_delete_=True, mode="whole"),
)
data_preprocessor = dict(size=crop)
model["data_preprocessor"] = dict(size=crop)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="RandomCrop", crop_size=crop, cat_max_ratio=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackSegInputs"),
        ]
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(96, 64), keep_ratio=True),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ]
    ),
)
train_cfg = dict(max_iters=4, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=4, by_epoch=False)]
"""
# OCRNet's two heads behind the same MiT, and DisAlign behind the second one.
CASCADE = (
    STREETS
    + """
heads = dict(
    in_channels=[8, 8, 16, 16], in_index=[0, 1, 2, 3], input_transform="resize_concat", channels=8, num_classes=19,
    norm_cfg=dict(type="SyncBN", requires_grad=True), align_corners=False,
)
model.update(
    type="CascadeEncoderDecoder",
    num_stages=2,
    decode_head=[
        dict(type="FCNHead", num_convs=1, concat_input=False, **heads),
        dict(type="RegularizedOCRHead", ocr_channels=4, regularizer=dict(type="CAR"), **heads),
    ],
)
"""
)
CASCADE_DISALIGN = (
    CASCADE
    + """
model.update(type="SecondStageCascade")
model["decode_head"][1].pop("regularizer")
model["decode_head"][1].update(
    classifier=dict(type="disalign", confidence="normalized"),
    loss_decode=dict(type="GeneralizedReweighting", class_counts=None, rho=0.2),
)
"""
)


def camvid_job(folder: Path, row: str, text: str) -> Job:
    """A run of this config, seed 1, in the work directory ``folder``."""
    from sar_cls.engine.job import Job
    from sar_cls.suites.rows import Source

    config = folder / f"{row}.py"
    config.write_text(text)
    return Job("camvid", row, Source(config), 1, folder / "camvid" / row / "seed1")


def _write(image_file: Path, mask_file: Path, mask: np.ndarray) -> None:
    from PIL import Image

    for file in (image_file, mask_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(1).integers(0, 256, (256, 3))
    Image.fromarray(colours[mask].astype(np.uint8)).save(image_file)
    Image.fromarray(mask.astype(np.uint8)).save(mask_file)


def _mask(first: int, last: int, index: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Stripes of the labels ``first`` to ``last``, and a few pixels of 255."""
    mask = first + (np.arange(size[1]) * (last - first + 1) // size[1] + index) % (last - first + 1)
    mask = np.tile(mask, (size[0], 1))
    mask[:4] = 255
    return mask


def write_cityscapes(root: Path) -> None:
    """Three training and two validation images in Cityscapes' layout, with labelTrainIds."""
    for split, number in (("train", 3), ("val", 2)):
        for index in range(number):
            name = f"city_{index:06d}_000019"
            _write(
                root / "cityscapes" / "leftImg8bit" / split / "city" / f"{name}_leftImg8bit.png",
                root / "cityscapes" / "gtFine" / split / "city" / f"{name}_gtFine_labelTrainIds.png",
                _mask(0, 18, index),
            )


def write_ade20k(root: Path) -> None:
    """Likewise in the layout of ADEChallengeData2016, where label 0 is none."""
    folder = root / "ade" / "ADEChallengeData2016"
    for split, number in (("training", 3), ("validation", 2)):
        for index in range(number):
            mask = _mask(0, 95, index)
            mask[mask == 255] = 0
            _write(
                folder / "images" / split / f"ADE_{split}_{index}.jpg",
                folder / "annotations" / split / f"ADE_{split}_{index}.png",
                mask,
            )


def write_pascal_context(root: Path) -> None:
    """Likewise in the layout of mmsegmentation's converted VOC2010, where label 0 is the background."""
    folder = root / "VOCdevkit" / "VOC2010"
    for split, number in (("train", 3), ("val", 2)):
        names = [f"2010_{split}_{index}" for index in range(number)]
        for index, name in enumerate(names):
            mask = _mask(0, 59, index)
            mask[mask == 255] = 0
            _write(folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClassContext" / f"{name}.png", mask)
        listed = folder / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in names))
