"""Image sets as uint8 tensors on the device, long-tailed subsets, samplers, batched augmentation, the loader."""

from sar_cls.data.augment import Augmentation, Draws, center_crop, crop_and_flip, mixup, normalize
from sar_cls.data.image_set import ImageSet
from sar_cls.data.load import IMAGE_SETS, MASKED_SETS, load_image_set, load_masked_set
from sar_cls.data.loader import DeviceLoader
from sar_cls.data.longtail import longtail_counts, longtail_indices, stratified_split
from sar_cls.data.mask_augment import MaskAugmentation, choose_place, photometric_distortion, scale_crop_flip
from sar_cls.data.masked_set import VOID, MaskedImageSet
from sar_cls.data.rng import epoch_generator, epoch_seed
from sar_cls.data.samplers import (
    SAMPLERS,
    ClassAware,
    ClassBalanced,
    EndlessShuffle,
    InstanceBalanced,
    ProgressivelyBalanced,
    SquareRoot,
)

__all__ = [
    "IMAGE_SETS",
    "MASKED_SETS",
    "SAMPLERS",
    "VOID",
    "Augmentation",
    "ClassAware",
    "ClassBalanced",
    "DeviceLoader",
    "Draws",
    "EndlessShuffle",
    "ImageSet",
    "InstanceBalanced",
    "MaskAugmentation",
    "MaskedImageSet",
    "ProgressivelyBalanced",
    "SquareRoot",
    "center_crop",
    "choose_place",
    "crop_and_flip",
    "epoch_generator",
    "epoch_seed",
    "load_image_set",
    "load_masked_set",
    "longtail_counts",
    "longtail_indices",
    "mixup",
    "normalize",
    "photometric_distortion",
    "scale_crop_flip",
    "stratified_split",
]
