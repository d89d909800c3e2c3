"""Image sets as uint8 tensors on the device, long-tailed subsets, samplers, batched augmentation, the loader."""

from sar_cls.data.augment import Augmentation, Draws, center_crop, crop_and_flip, mixup, normalize
from sar_cls.data.image_set import ImageSet
from sar_cls.data.load import IMAGE_SETS, load_image_set
from sar_cls.data.loader import DeviceLoader
from sar_cls.data.longtail import longtail_counts, longtail_indices, stratified_split
from sar_cls.data.rng import epoch_generator, epoch_seed
from sar_cls.data.samplers import (
    SAMPLERS,
    ClassAware,
    ClassBalanced,
    InstanceBalanced,
    ProgressivelyBalanced,
    SquareRoot,
)

__all__ = [
    "IMAGE_SETS",
    "SAMPLERS",
    "Augmentation",
    "ClassAware",
    "ClassBalanced",
    "DeviceLoader",
    "Draws",
    "ImageSet",
    "InstanceBalanced",
    "ProgressivelyBalanced",
    "SquareRoot",
    "center_crop",
    "crop_and_flip",
    "epoch_generator",
    "epoch_seed",
    "load_image_set",
    "longtail_counts",
    "longtail_indices",
    "mixup",
    "normalize",
    "stratified_split",
]
