"""From the ``dataset`` of a config to loaders over image sets on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATA_SAMPLERS

from sar_cls.data import (
    MASKED_SETS,
    SAMPLERS,
    DeviceLoader,
    ImageSet,
    MaskedImageSet,
    load_image_set,
    load_masked_set,
    longtail_counts,
    longtail_indices,
    stratified_split,
)
from sar_cls.data.folder import split_folders
from sar_cls.errors import InputError

_CPU_BATCH = 100
# What the sets of a run are called in messages, by their name in a record.
IMAGES = {"train": "training images", "val": "validation images", "test": "test images"}
# Images of a class: training, test. The long tails of the literature start from these.
_PER_CLASS = {"cifar10": (5000, 1000), "cifar100": (500, 100)}
# Batches of an epoch of n images, whatever the sampler could give, by names for ``batches_per_epoch``. The program of MiSLAS leaves
# its loop a batch late (86 of 128 images for CIFAR-100-LT at imbalance 100), that of Kang et al. (2020) after the full ones.
EPOCH_LENGTHS: dict[str, Callable[[int, int], int]] = {
    "one_pass": lambda images, batch_size: max(images // batch_size, 1),
    "one_pass_plus_one": lambda images, batch_size: -(-images // batch_size) + 1,
}

for _sampler in SAMPLERS.values():
    DATA_SAMPLERS.register_module(module=_sampler)


@dataclass(frozen=True)
class DataSplits:
    """The image sets of one run: ``ImageSet``, ``MaskedImageSet``, or what stands for one (``PipelineSet``).

    Attributes:
        train: the images to train on.
        test: the test images, of the same size.
        val: drawn from the training images, where a validation split was asked for.
        found: training images that were there before a long tail or a validation split was cut; 0 where that is not known.
    """

    train: Any
    test: Any
    val: Any = None
    found: int = 0

    @property
    def parts(self) -> dict[str, Any]:
        """The sets that there are, by the name that a record gives them: "train", "test" and perhaps "val"."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each set, by the same names."""
        return {name: part.fingerprint for name, part in self.parts.items()}


def load_splits(
    config: dict[str, Any],
    data_root: str | None = None,
    *,
    download: bool = False,
    val_fraction: float | None = None,
    build_cache: bool = True,
) -> DataSplits:
    """Loads the train and test images that a config names; with masks, where it is a set of such.

    Args:
        config: ``dict(name="cifar100", longtail=dict(imbalance_factor=100, profile="exponential", seed=0))``; without
            ``longtail`` all training images are taken. ``downscale=2`` halves the sides of all images. Further entries
            go to ``load_image_set``.
        data_root: the folder of the data; None for the config's own ``data_root`` or the default of the set.
        download: whether a missing set may be downloaded.
        val_fraction: share of the training images, class by class, that is held out for validation.
        build_cache: False refuses a set that would first be decoded for minutes (CUB-200-2011).

    Raises:
        InputError: the data is missing or damaged, test images are of another size than the training images, or the long
            tail empties a class.
    """
    if "train" in config:  # two data sets of mmseg
        from sar_cls.mm.seg.pipelines import load_pipelines

        return load_pipelines(config, data_root)
    if config["name"] in MASKED_SETS:
        return _load_masked(config, data_root)
    ours = ("name", "longtail", "downscale", "split", "data_root")
    arguments = {key: value for key, value in config.items() if key not in ours}
    arguments["build_cache"] = build_cache
    data_root = config.get("data_root") if data_root is None else data_root
    train = load_image_set(config["name"], "train", data_root, download=download, **arguments)
    test = load_image_set(config["name"], "test", data_root, download=download, **arguments)
    val = None
    if config["name"] == "folder" and "val" in split_folders(Path(data_root or "data").expanduser()):
        if val_fraction is not None:
            raise InputError(f"{data_root} has a folder val: leave --val-fraction out, the best epoch is chosen there")
        val = load_image_set(config["name"], "val", data_root, **arguments)
    for other in (test, *([] if val is None else [val])):
        if train.classes != other.classes:
            raise InputError(
                f"{config['name']}: train and {other.split} do not have the same classes; check the folders"
            )
        if train.image_size != other.image_size:
            (height, width), (other_height, other_width) = train.image_size, other.image_size
            raise InputError(
                f"{config['name']}: the {other.split} images are of {other_height}x{other_width} pixels and the training "
                f"images of {height}x{width}: bring all to one size"
            )
    _check_complete(config["name"], train, test)
    found = len(train)
    if config.get("longtail"):
        profile = {key: value for key, value in config["longtail"].items() if key != "seed"}
        indices = longtail_indices(train.labels.numpy(), **config["longtail"])
        expected = longtail_counts(min(train.counts), train.num_classes, **profile)
        train = train.subset(indices)
        if train.counts != expected:  # would be a mistake of ours, and no result is worth having then
            raise RuntimeError(f"the long tail has {sum(train.counts)} images instead of {sum(expected)}")
    if config.get("downscale", 1) != 1:
        train, test = train.downscaled(config["downscale"]), test.downscaled(config["downscale"])
        val = None if val is None else val.downscaled(config["downscale"])
    if val_fraction is not None:
        kept, held_out = stratified_split(train.labels.numpy(), val_fraction, seed=0)
        train, val = train.subset(kept), train.subset(held_out, split="val", allow_empty_classes=True)
    return DataSplits(train, test, val, found)


def _load_masked(config: dict[str, Any], data_root: str | None) -> DataSplits:
    """A set with masks; where it comes with a validation split, the best epoch is chosen on that."""
    root = config.get("data_root") if data_root is None else data_root
    train, val, test = (load_masked_set(config["name"], split, root) for split in ("train", "val", "test"))
    for other in (val, test):
        if other.image_size != train.image_size:
            (height, width), (h, w) = train.image_size, other.image_size
            raise InputError(
                f"{config['name']}: the {other.split} images are of {h}x{w} pixels and the training images of {height}x{width}: "
                "bring all to one size"
            )
    return DataSplits(train, test, val)


def _check_complete(name: str, train: ImageSet, test: ImageSet) -> None:
    """Results are given under the name of a data set only where all of it is there.

    Raises:
        InputError: a class of CIFAR has not its official number of images.
    """
    if name not in _PER_CLASS:
        return
    for images, expected in zip((train, test), _PER_CLASS[name], strict=True):
        odd = [label for label, count in zip(images.classes, images.counts, strict=True) if count != expected]
        if odd:
            raise InputError(
                f"{name} ({images.split}) has {images.counts[images.classes.index(odd[0])]} images of class {odd[0]!r} and not "
                f"{expected}: complete the copy"
            )


def _placed(image_set: ImageSet | MaskedImageSet, device: torch.device) -> ImageSet | MaskedImageSet:
    """The set on the device where it fits into a good half of the free memory, else where it is."""
    if device.type == "cuda" and image_set.device.type == "cpu":
        free, _ = torch.cuda.mem_get_info(device)
        if image_set.images.nbytes > 0.6 * free:
            return image_set
    return image_set.to(device)


def train_loader(
    image_set: ImageSet | MaskedImageSet,
    config: dict[str, Any],
    seed: int,
    device: torch.device,
    interval: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> DeviceLoader:
    """The shuffling loader of a config; with ``interval`` an epoch is so many batches of an endless order.

    ``config`` has ``batch_size`` and, optionally, ``sampler``, ``drop_last`` and ``batches_per_epoch``: a number, or a name of
    :data:`EPOCH_LENGTHS`. ``part`` is (rank, processes) where several processes share its batches.
    """
    batch_size, drop_last = config["batch_size"], config.get("drop_last", False)
    if drop_last and batch_size > len(image_set):
        raise InputError(
            f"a batch of {batch_size} is larger than the {len(image_set)} training images and drop_last leaves none: "
            "use a smaller batch_size"
        )
    batches = config.get("batches_per_epoch")
    if batches in EPOCH_LENGTHS:
        batches = EPOCH_LENGTHS[batches](len(image_set), batch_size)
    default = "InstanceBalanced"
    if interval is not None:
        default, batches = "EndlessShuffle", interval
    sampler = DATA_SAMPLERS.build(
        config.get("sampler") or dict(type=default), default_args=dict(labels=image_set.labels)
    )
    loader = DeviceLoader(
        _placed(image_set, device),
        batch_size,
        sampler,
        device=device,
        seed=seed,
        drop_last=drop_last,
        batches_per_epoch=batches,
    )
    try:
        return loader.shared(*part)
    except ValueError as error:
        raise InputError(str(error)) from error


def test_loader(image_set: ImageSet | MaskedImageSet, config: dict[str, Any], device: torch.device) -> DeviceLoader:
    """The loader of a config that goes through a set once, in its order.

    On the CPU its batches are smaller: the activations of a batch then stay in the caches, and ResNet-32 evaluates 15 % more
    images a second in batches of 100 than in batches of 500 (results/speed).
    """
    batch_size = config["batch_size"] if device.type == "cuda" else min(config["batch_size"], _CPU_BATCH)
    return DeviceLoader(_placed(image_set, device), batch_size, device=device)


def build_loader(config: dict[str, Any], device: torch.device, seed: int = 0, *, train: bool = True) -> DeviceLoader:
    """A loader from ``dict(dataset=dict(name=...), batch_size=...)`` alone, for configs run by mmengine's own tools."""
    splits = load_splits(config["dataset"])
    return train_loader(splits.train, config, seed, device) if train else test_loader(splits.test, config, device)
