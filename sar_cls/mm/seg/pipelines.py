"""mmseg's own data sets and pipelines, for images too many to be held on the device, behind the interface of an image set."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.fileio import list_dir_or_file
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from sar_cls import messages
from sar_cls.data.decoding import decoding
from sar_cls.data.mask_files import check_headers, require_classes, require_decodable
from sar_cls.data.rng import epoch_seed
from sar_cls.data.samplers import EndlessShuffle
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits

# Data set of mmseg -> what to fetch, where from, and what must be in its folder. mmseg's own page on data sets says the rest.
_FETCH = {
    "CityscapesDataset": (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, with the labelTrainIds that "
        "cityscapesscripts makes (csCreateTrainIdLabelImgs)"
    ),
    "ADE20KDataset": "ADEChallengeData2016.zip from data.csail.mit.edu/places/ADEchallenge",
    "PascalContextDataset59": (
        "VOC2010 (VOCtrainval_03-May-2010.tar) from host.robots.ox.ac.uk and trainval_merged.json from "
        "hangzhang.org, turned into masks by mmsegmentation's tools/dataset_converters/pascal_context.py"
    ),
}
_FETCH["PascalContextDataset"] = _FETCH["PascalContextDataset59"]
_DEFAULT_ROOT = "data"


@dataclass(frozen=True, eq=False)
class PipelineSet:
    """One split of an mmseg data set.

    Attributes:
        dataset: mmseg's, with its pipeline.
        name: of the data set, e.g. "cityscapes".
        split: "train" or "test".
    """

    dataset: Any
    name: str
    split: str
    order: str = ""

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.dataset.metainfo["classes"])

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def files(self) -> tuple[tuple[Path, Path], ...]:
        """Image and mask of each sample, in order."""
        infos = (self.dataset.get_data_info(index) for index in range(len(self.dataset)))
        return tuple((Path(info["img_path"]), Path(info["seg_map_path"])) for info in infos)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of class names and of the names and sizes of all files, in order: hashing their content would take longer
        than the start of a run."""
        digest = hashlib.sha256(json.dumps([self.name, list(self.classes)]).encode())
        for pair in self.files:
            for file in pair:
                digest.update(repr((file.name, file.stat().st_size)).encode())
        return digest.hexdigest()

    @cached_property
    def counts(self) -> list[int]:
        """Number of pixels of each class; every mask is read for it, once a run, at its end."""
        total = np.zeros(256, dtype=np.int64)
        for index in range(len(self.dataset)):
            total += np.bincount(self._mask(index).ravel(), minlength=256)[:256]
        return total[: self.num_classes].tolist()

    def _mask(self, index: int) -> np.ndarray:
        """Labels uint8 [H, W] as mmseg's LoadAnnotations reads them.

        Raises:
            InputError: the file is damaged, or holds a label that is no class.
        """
        from mmseg.datasets.transforms import LoadAnnotations

        info = self.dataset.get_data_info(index)
        with decoding(info["seg_map_path"], "fetch it again"):
            labels = LoadAnnotations()(info)["gt_seg_map"].astype(np.uint8)
        require_classes(labels, info["seg_map_path"], self.num_classes, self.name, info["reduce_zero_label"])
        return labels

    def check(self) -> None:
        """Looks at the headers of all files, and at the labels of the first mask.

        The labels of the others are looked at as they are read for training and evaluation: all of them at once would take as
        long as an epoch.

        Raises:
            InputError: a file is missing or damaged, a mask is without image, no mask of labels or of another size than its
                image, or holds a label that is no class.
        """
        turned = check_headers(self.files)
        if turned:
            messages.warn(
                f"{self.name}, {self.split}: {len(turned)} of {len(self.files)} images are turned upside down or mirrored by "
                f"their EXIF tag ({turned[0].name} is the first) and their masks are not: where a mask was drawn on the image as "
                "it is stored, take the tag away"
            )
        self._check_masks_have_images()
        self._mask(0)

    def _check_masks_have_images(self) -> None:
        """Where the folder of the images says which there are, and no list."""
        dataset = self.dataset
        images, masks = (dataset.data_prefix.get(key) for key in ("img_path", "seg_map_path"))
        if masks is None or (dataset.ann_file and not Path(dataset.ann_file).is_dir()):
            return
        known = {str(mask) for _, mask in self.files}
        # As mmseg lists the images.
        for name in sorted(list_dir_or_file(masks, list_dir=False, suffix=dataset.seg_map_suffix, recursive=True)):
            image = Path(images, name.removesuffix(dataset.seg_map_suffix) + dataset.img_suffix)
            if str(Path(masks, name)) not in known and not image.is_file():
                raise InputError(f"{Path(masks, name)} has no image {image}: add it, or remove the mask")


def load_pipelines(config: Mapping[str, Any], data_root: str | None = None) -> DataSplits:
    """The training and test images of ``dict(name=..., train=..., test=...)`` with mmseg's data sets.

    Args:
        config: the two data sets as in an mmseg config.
        data_root: the folder that holds e.g. ``cityscapes``; it takes the place of "data" in their ``data_root``.

    Raises:
        InputError: the data set is not there; the sentence says what to fetch and where to put it.
    """
    sets = [_load(dict(config[split]), config["name"], split, data_root) for split in ("train", "test")]
    return DataSplits(train=sets[0], test=sets[1])


def check_pipelines(config: Mapping[str, Any], data_root: str | None = None) -> None:
    """Raises InputError where the folders of the two data sets are not there; no image is read."""
    for split in ("train", "test"):
        _places(config[split], data_root)


def _places(config: Mapping[str, Any], data_root: str | None) -> tuple[Path, list[Path]]:
    """The root of a data set, and its folders and lists, all of which are there."""
    own = Path(config.get("data_root") or ".")
    if data_root is not None and own.parts[:1] == (_DEFAULT_ROOT,):
        own = Path(data_root).expanduser().joinpath(*own.parts[1:])
    prefix = config.get("data_prefix", {})
    wanted = [own / prefix[key] for key in ("img_path", "seg_map_path") if prefix.get(key)]
    wanted += [own / config["ann_file"]] if config.get("ann_file") else []
    missing = [place for place in wanted if not place.exists()]
    if missing:
        fetch = _FETCH.get(str(config["type"]), "the data set")
        raise InputError(f"{missing[0]} is missing: fetch {fetch}, and put it there, or give another --data-root")
    return own, wanted


def _load(config: dict[str, Any], name: str, split: str, data_root: str | None) -> PipelineSet:
    root, wanted = _places(config, data_root)
    config["data_root"] = str(root)
    with DefaultScope.overwrite_default_scope("mmseg"):
        dataset = DATASETS.build(config)
    if len(dataset) == 0:
        raise InputError(f"{wanted[0]} holds no images of {name}: check --data-root")
    found = PipelineSet(dataset, name, split)
    found.check()
    return found


class PipelineLoader:
    """Batches of an mmseg data set, by worker processes, of which all that is random follows from (seed, epoch).

    mmseg's transforms draw from the global generators of NumPy and of Python; here they are started anew for every image from
    (seed, epoch, place in the epoch), so that an epoch can be repeated, whatever the number of workers.

    Args:
        images: the set.
        batch_size: samples in a batch.
        seed: of the run; None goes through the set once, in its order.
        batches_per_epoch: length of an epoch for a seeded loader.
        num_workers: processes that read and transform images; 0 for this one.
        device: where the net is.
        part: which part of each batch to yield, and of how many: (rank, processes); a part is consecutive, and its images are drawn
            as they would be in one process. Such batches also have ``"share"``, as those of a ``DeviceLoader``: 1, all are full.
    """

    tensors = False  # images and samples come as lists

    def __init__(
        self,
        images: PipelineSet,
        batch_size: int,
        *,
        seed: int | None = None,
        batches_per_epoch: int | None = None,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.image_set = images
        self.batch_size = batch_size
        self.seed = seed
        self.batches_per_epoch = batches_per_epoch
        self.num_workers = num_workers
        self.device = torch.device(device)
        self.part = part
        self.draw = None
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        """Samples in an epoch."""
        return len(self.image_set) if self.batches_per_epoch is None else self.batches_per_epoch * self.batch_size

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration yields."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.batches(range(len(self)))

    def batches(self, steps: range) -> Iterator[dict[str, Any]]:
        """Yields some of the epoch's batches alone.

        Raises:
            InputError: an image or mask of a batch is damaged, or holds a label that is no class.
        """
        if self.seed is None:
            order = list(range(len(self.image_set)))
        else:
            shuffle = EndlessShuffle(range(len(self.image_set)))
            order = shuffle.indices(self.epoch, self.seed, self.num_samples).tolist()
        seeds = None if self.seed is None else epoch_seed(self.seed, self.epoch, "augment")
        rank, processes = self.part
        places = [range(step * self.batch_size, min((step + 1) * self.batch_size, len(order))) for step in steps]
        for batch in DataLoader(
            _Seeded(self.image_set, order, seeds),
            batch_sampler=[
                list(batch[rank * len(batch) // processes : (rank + 1) * len(batch) // processes]) for batch in places
            ],
            num_workers=self.num_workers,
            collate_fn=_collate,
            pin_memory=self.device.type == "cuda",
        ):
            if isinstance(batch, InputError):
                raise batch
            yield batch if processes == 1 else {**batch, "share": 1.0}


class _Seeded(Dataset):
    """The samples of an epoch by their place in it, each with generators of its own, and its labels looked at.

    A sample that has to be refused is the `InputError` itself: raised in a worker process it would reach the run with that
    process's traceback in its sentence.
    """

    def __init__(self, images: PipelineSet, order: list[int], seed: int | None) -> None:
        self.dataset, self.order, self.seed = images.dataset, order, seed
        self.num_classes, self.name = images.num_classes, images.name

    def __getitem__(self, place: int) -> Any:
        info = self.dataset.get_data_info(self.order[place])
        try:
            sample = self._sample(place)
            masks = sample["data_samples"].get("gt_sem_seg") if "data_samples" in sample else None
            if masks is not None:
                labels, file = masks.data.numpy(), info["seg_map_path"]
                require_classes(labels, file, self.num_classes, self.name, info["reduce_zero_label"])
            return sample
        except InputError as error:
            return error
        except Exception:  # of a pipeline, which does not say what file it was at
            try:
                for key in ("img_path", "seg_map_path"):
                    require_decodable(Path(info[key]))
            except InputError as error:
                return error
            raise

    def _sample(self, place: int) -> Any:
        if self.seed is None:
            return self.dataset[self.order[place]]
        before = random.getstate(), np.random.get_state()  # noqa: NPY002 (the generator that mmseg draws from)
        state = np.random.SeedSequence([self.seed, place]).generate_state(1)[0]
        random.seed(int(state))
        np.random.seed(int(state))  # noqa: NPY002 (the generator that mmseg draws from)
        try:
            return self.dataset[self.order[place]]
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002 (the generator that mmseg draws from)


def _collate(samples: list[Any]) -> Any:
    """A batch as mmengine makes one, or the first sample's `InputError`."""
    refused = [sample for sample in samples if isinstance(sample, InputError)]
    return refused[0] if refused else pseudo_collate(samples)
