"""What is refused about the files of mmseg's data sets, each fault in a file behind a good one, and where it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_scenes import write_ade20k, write_cityscapes, write_pascal_context

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from PIL import Image

from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.seg.pipelines import PipelineLoader, load_pipelines

PIPELINE = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
# Serialized, as they are for many images, each set collects all garbage first: a second a test.
SMALL: dict[str, Any] = dict(pipeline=PIPELINE, serialize_data=False)
CITY = dict(type="CityscapesDataset", data_root="data/cityscapes", **SMALL)
ADE = dict(type="ADE20KDataset", data_root="data/ade/ADEChallengeData2016", **SMALL)
CONTEXT = dict(type="PascalContextDataset59", data_root="data/VOCdevkit/VOC2010", **SMALL)
CONTEXT["data_prefix"] = dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext")


def both(root: Path, one: dict[str, Any], **entries: tuple[str, str]) -> DataSplits:
    """The two splits of a data set whose entries differ as ``key=(of train, of test)`` says."""
    splits: dict[str, Any] = {}
    for place, split in enumerate(("train", "test")):
        changes: dict[str, Any] = {key: values[place] for key, values in entries.items() if key == "ann_file"}
        if "img_path" in entries:
            changes["data_prefix"] = {key: values[place] for key, values in entries.items()}
        splits[split] = one | changes
    return load_pipelines({"name": "the set", **splits}, str(root))


def cityscapes(root: Path) -> DataSplits:
    return both(
        root,
        CITY,
        img_path=("leftImg8bit/train", "leftImg8bit/val"),
        seg_map_path=("gtFine/train", "gtFine/val"),
    )


def ade20k(root: Path) -> DataSplits:
    images = ("images/training", "images/validation")
    return both(root, ADE, img_path=images, seg_map_path=("annotations/training", "annotations/validation"))


def pascal_context(root: Path) -> DataSplits:
    lists = "ImageSets/SegmentationContext"
    return both(root, CONTEXT, ann_file=(f"{lists}/train.txt", f"{lists}/val.txt"))


# Data set -> its writer, its loader, images and masks of the second sample of both splits.
SETS: dict[str, tuple[Callable[[Path], None], Callable[[Path], DataSplits], dict[str, tuple[str, str]]]] = {
    "cityscapes": (
        write_cityscapes,
        cityscapes,
        {
            split: (
                f"cityscapes/leftImg8bit/{folder}/city/city_000001_000019_leftImg8bit.png",
                f"cityscapes/gtFine/{folder}/city/city_000001_000019_gtFine_labelTrainIds.png",
            )
            for split, folder in (("train", "train"), ("test", "val"))
        },
    ),
    "ade20k": (
        write_ade20k,
        ade20k,
        {
            split: (
                f"ade/ADEChallengeData2016/images/{folder}/ADE_{folder}_1.jpg",
                f"ade/ADEChallengeData2016/annotations/{folder}/ADE_{folder}_1.png",
            )
            for split, folder in (("train", "training"), ("test", "validation"))
        },
    ),
    "pascal_context": (
        write_pascal_context,
        pascal_context,
        {
            split: (
                f"VOCdevkit/VOC2010/JPEGImages/2010_{folder}_1.jpg",
                f"VOCdevkit/VOC2010/SegmentationClassContext/2010_{folder}_1.png",
            )
            for split, folder in (("train", "train"), ("test", "val"))
        },
    ),
}
BOTH = pytest.mark.parametrize("split", ["train", "test"])
ALL = pytest.mark.parametrize("name", SETS)


def one_sentence(error: pytest.ExceptionInfo[InputError], file: Path) -> None:
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@ALL
@BOTH
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((64, 95), np.uint8), "is of 64x95 pixels and its image of 64x96: give a mask of the same size"),
        (np.full((64, 96), 258, np.uint16), "has pixels of type I;16 and is no mask of labels: save it as 8-bit"),
        (np.ones((64, 96, 3), np.uint8), "has pixels of type RGB and is no mask of labels: save it as 8-bit"),
    ],
    ids=["other size", "16 bits", "colours"],
)
def test_a_mask_that_is_none_is_refused_before_training(
    name: str, split: str, pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    write, load, seconds = SETS[name]
    write(tmp_path)
    mask = tmp_path / seconds[split][1]
    Image.fromarray(pixels).save(mask)
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path)
    one_sentence(error, mask)


@ALL
@pytest.mark.parametrize("lost", [0, 1], ids=["image", "mask"])
def test_a_file_without_its_other_is_refused(name: str, lost: int, tmp_path: Path) -> None:
    write, load, seconds = SETS[name]
    write(tmp_path)
    pair = [tmp_path / file for file in seconds["train"]]
    pair[lost].unlink()
    # A list names its images: one that is lost is missed, whatever masks there are.
    word = "has no mask" if lost else "it is not there" if name == "pascal_context" else "has no image"
    with pytest.raises(InputError, match=word) as error:
        load(tmp_path)
    one_sentence(error, pair[lost])


@BOTH
def test_images_upside_down_are_said(split: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Their masks have the right size whether they were drawn on the image as it is seen or as it is stored."""
    write, load, seconds = SETS["ade20k"]
    write(tmp_path)
    image = tmp_path / seconds[split][0]
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(image).save(image, exif=exif)
    load(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the set, {split}: 1 of {dict(train=3, test=2)[split]} images are turned upside down" in line
    assert f"({image.name} is the first)" in line


def test_masks_beside_a_list_need_no_image(tmp_path: Path) -> None:
    write_pascal_context(tmp_path)
    folder = tmp_path / "VOCdevkit" / "VOC2010" / "SegmentationClassContext"
    Image.new("L", (96, 64), 1).save(folder / "another.png")
    assert len(pascal_context(tmp_path).train) == 3


def test_a_part_of_a_set_leaves_masks_of_other_images(tmp_path: Path) -> None:
    write_ade20k(tmp_path)
    try:
        ADE["indices"] = 2
        assert len(ade20k(tmp_path).train) == 2
    finally:
        del ADE["indices"]


def read(splits: DataSplits, split: str, workers: int) -> None:
    """All samples once: as training reads them, in a shuffled order, and as the evaluation does."""
    seed = dict(seed=3, batches_per_epoch=4) if split == "train" else {}
    for _ in PipelineLoader(getattr(splits, split), 1, num_workers=workers, **seed):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("workers", [0, 1])
@ALL
@BOTH
def test_a_label_of_no_class_is_named_when_it_is_read(name: str, split: str, workers: int, tmp_path: Path) -> None:
    write, load, seconds = SETS[name]
    write(tmp_path)
    mask = tmp_path / seconds[split][1]
    Image.new("L", (96, 64), 200).save(mask)
    splits = load(tmp_path)
    classes = {
        "cityscapes": "0 to 18 and 255 for none",
        "ade20k": "1 to 150 and 0 for none",
        "pascal_context": "1 to 59 and 0 for none",
    }[name]
    with pytest.raises(InputError, match=f"holds label 200: the set has the classes {classes}$") as error:
        read(splits, split, workers)
    one_sentence(error, mask)


@pytest.mark.parametrize("workers", [0, 1])
@BOTH
def test_half_a_mask_is_named_when_it_is_read(split: str, workers: int, tmp_path: Path) -> None:
    write, load, seconds = SETS["ade20k"]
    write(tmp_path)
    mask = tmp_path / seconds[split][1]
    Image.fromarray(np.random.default_rng(0).integers(0, 151, (64, 96), dtype=np.uint8)).save(mask)
    mask.write_bytes(mask.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"is damaged or no image .*: fetch it again") as error:
        read(load(tmp_path), split, workers)
    one_sentence(error, mask)


def test_another_failure_of_a_pipeline_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ade20k(tmp_path)
    splits = ade20k(tmp_path)

    def broken(index: int) -> None:
        raise KeyError("mistake of a transform")

    monkeypatch.setattr(splits.train.dataset, "prepare_data", broken)
    with pytest.raises(KeyError, match="mistake of a transform"):
        read(splits, "train", 0)


@pytest.mark.parametrize(("pixels", "message"), [("200", "holds label 200"), ("half", "is damaged")])
def test_pixels_are_counted_of_good_masks_alone(pixels: str, message: str, tmp_path: Path) -> None:
    write, load, seconds = SETS["ade20k"]
    write(tmp_path)
    mask = tmp_path / seconds["train"][1]
    Image.fromarray(np.random.default_rng(0).integers(0, 151, (64, 96), dtype=np.uint8)).save(mask)
    if pixels == "half":
        mask.write_bytes(mask.read_bytes()[:2000])
    else:
        Image.new("L", (96, 64), 200).save(mask)
    with pytest.raises(InputError, match=message) as error:
        _ = load(tmp_path).train.counts
    one_sentence(error, mask)
