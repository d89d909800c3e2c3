"""Every row of the paper's segmentation tables: built, trained for a step and evaluated on a tiny set of the right layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tiny_scenes import write_ade20k, write_cityscapes, write_pascal_context

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.registry import DefaultScope
from mmseg.registry import TRANSFORMS

from sar_cls.engine import training
from sar_cls.engine.config import row_config
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import run
from sar_cls.errors import InputError
from sar_cls.mm import checkpoint
from sar_cls.mm.loaders import load_splits
from sar_cls.mm.seg.pipelines import PipelineLoader
from sar_cls.runs.checkpoint import FORMAT, write_atomically
from sar_cls.runs.folder import LAST
from sar_cls.runs.history import read_history
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.rows import Source, load_suite

SUITES = {"cityscapes": write_cityscapes, "ade20k": write_ade20k, "pascal_context": write_pascal_context}
ROWS = [row for suite in SUITES for row in load_suite(CONFIGS, suite).rows]
CROP = (64, 64)
# What makes a row small enough for a CPU: the crop, the batch, the workers. The net stays as it is.
TRAIN = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(128, 96), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type="RandomCrop", crop_size=CROP, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
SMALL: dict[str, Any] = dict(
    train_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(pipeline=TRAIN)),
    val_dataloader=dict(num_workers=0),
    data_preprocessor=dict(size=CROP),
)
TEST = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(96, 64), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]


def small(source: Source) -> Source:
    """The row with tiny crops; slid in windows of them where its recipe slides."""
    changes = merged(source.changes, SMALL)
    changes["val_dataloader"]["dataset"] = dict(pipeline=TEST)
    changes = merged(changes, dict(model=dict(test_cfg=dict(crop_size=CROP, stride=(48, 48)))))
    return Source(source.config, changes, source.place, source.name)


def merged(one: Any, other: Any) -> Any:
    result = dict(one)
    for key, value in other.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for write in SUITES.values():
        write(root)
    return root


# A net each takes half a minute to some minutes: all of them only on request, SAR_CLS_ALL_ROWS=1, beside the one that stays.
_ASKED_FOR = os.environ.get("SAR_CLS_ALL_ROWS") == "1"
_CASES = [
    pytest.param(
        row,
        id=f"{row.suite}-{row.name}",
        marks=pytest.mark.skipif(
            not _ASKED_FOR and (row.suite, row.name) != ("cityscapes", "fcn_r101_sar"),
            reason="minutes of CPU each: set SAR_CLS_ALL_ROWS=1",
        ),
    )
    for row in ROWS
]


@pytest.fixture
def without_checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keeps the state of a run in memory, where files of these nets would be of a gigabyte or more; the last state is the result.

    That checkpoints are whole and that runs resume from them is tested on small nets (tests/engine/test_dense.py).
    """
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(checkpoint, "write_best", lambda run_dir, state: kept.append(state))
    monkeypatch.setattr(checkpoint, "write_last", lambda run_dir, state: None)
    monkeypatch.setattr(training, "read_own", lambda path, identity: kept[-1])
    return kept


@pytest.mark.slow
@pytest.mark.timeout(1200)  # Swin-L and MiT-B5 on a busy CPU
@pytest.mark.parametrize("row", _CASES)
def test_a_row_is_built_trained_and_evaluated(
    row: Any, data: Path, tmp_path: Path, without_checkpoints: list[dict[str, Any]]
) -> None:
    options, stage1 = Options(data_root=str(data), weights="none", iterations=1, stage2_iterations=1), None
    if row.stage == 2:
        first, stage1 = load_suite(CONFIGS, row.suite).row(row.after), tmp_path / row.suite / row.after / "seed1"
        run(Job(row.suite, row.after, small(first.source), 1, stage1), options)
        weights = {key: without_checkpoints[-1][key] for key in ("meta", "state_dict")}
        write_atomically({"format": FORMAT, **weights}, stage1 / LAST)
    folder = tmp_path / row.suite / row.name / "seed1"
    record = run(Job(row.suite, row.name, small(row.source), 1, folder, stage1), options)
    assert not list(folder.glob("*.pth"))
    assert record["epochs"] == 1
    assert record["epochs_recipe"] in ((4000,) if row.stage == 2 else (40000, 80000, 160000))
    assert record["metrics"]["last"]["miou"] >= 0
    history = read_history(folder)
    expected = {"": set(), "_car": {"loss_intra"}, "_sar": {"loss_aux", "loss_anchor"}}
    suffix = next((end for end in ("_car", "_sar") if row.name.endswith(end)), "")
    columns = {name.rsplit(".", 1)[-1] for name in history.columns}
    assert expected[suffix] <= columns
    assert ("loss_aux" in columns) == (suffix == "_sar")


@pytest.mark.parametrize("suite", SUITES)
def test_data_in_the_official_layout_are_read(suite: str, data: Path) -> None:
    row = load_suite(CONFIGS, suite).row("fcn_r101")
    resolved = resolve(small(row.source), Options(data_root=str(data)))
    splits = load_splits(resolved.data, str(data))
    classes = {"cityscapes": 19, "ade20k": 150, "pascal_context": 59}[suite]
    assert (len(splits.train), len(splits.test), splits.train.num_classes) == (3, 2, classes)
    assert sum(splits.train.counts) > 0
    assert splits.train.fingerprint != splits.test.fingerprint


def test_a_repeated_epoch_is_the_same_and_another_is_not(data: Path) -> None:
    row = load_suite(CONFIGS, "cityscapes").row("fcn_r101")
    splits = load_splits(resolve(small(row.source), Options()).data, str(data))

    def batches(epoch: int, workers: int = 0) -> list[bytes]:
        loader = PipelineLoader(splits.train, 2, seed=5, batches_per_epoch=2, num_workers=workers)
        loader.set_epoch(epoch)
        return [b"".join(image.numpy().tobytes() for image in batch["inputs"]) for batch in loader]

    assert batches(0) == batches(0)
    assert batches(0) == batches(0, workers=1)
    assert batches(0) != batches(1)


def test_processes_have_the_images_of_one_with_the_same_draws(data: Path) -> None:
    row = load_suite(CONFIGS, "cityscapes").row("fcn_r101")
    splits = load_splits(resolve(small(row.source), Options()).data, str(data))

    def batches(part: tuple[int, int], workers: int = 0) -> list[list[bytes]]:
        loader = PipelineLoader(splits.train, 4, seed=5, batches_per_epoch=2, num_workers=workers, part=part)
        loader.set_epoch(1)
        return [[image.numpy().tobytes() for image in batch["inputs"]] for batch in loader]

    whole = batches((0, 1))
    first, second = batches((0, 2)), batches((1, 2), workers=1)
    assert [len(batch) for batch in (*whole, *first)] == [4, 4, 2, 2]
    assert [one + other for one, other in zip(first, second, strict=True)] == whole
    test = PipelineLoader(splits.test, 1)
    assert [sample.img_path for batch in test.batches(range(1, 2)) for sample in batch["data_samples"]] == [
        str(splits.test.files[1][0])
    ]


@pytest.mark.parametrize("row", ["fcn_r101", "hrnet_w48", "segformer_b5", "upernet_swin_l"])
def test_a_file_of_weights_takes_the_place_of_those_that_mmseg_would_fetch(row: str, tmp_path: Path) -> None:
    source, file = load_suite(CONFIGS, "ade20k").row(row).source, tmp_path / "w.pth"
    file.write_bytes(b"weights")

    def fetched(options: Options) -> list[Any]:
        model = resolve(source, options).config.model
        found = [model.get("pretrained"), model.backbone.get("pretrained"), model.backbone.get("init_cfg")]
        return [value for value in found if value is not None]

    given = Options(weights=str(file))
    assert fetched(Options())
    assert fetched(given) == []
    assert resolve(source, given).recipe == resolve(source, Options()).recipe
    assert list(resolve(source, given).overrides) == ["weights"]


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("cityscapes", "leftImg8bit/train is missing: fetch leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"),
        ("ade20k", "images/training is missing: fetch ADEChallengeData2016.zip"),
        ("pascal_context", "JPEGImages is missing: fetch VOC2010"),
    ],
)
def test_missing_data_are_said_with_what_to_fetch(suite: str, message: str, tmp_path: Path) -> None:
    row = load_suite(CONFIGS, suite).row("fcn_r101")
    with pytest.raises(InputError, match=message) as error:
        load_splits(resolve(row.source, Options()).data, str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_mask_out_of_range_is_named(tmp_path: Path) -> None:
    from PIL import Image

    write_ade20k(tmp_path)
    row = load_suite(CONFIGS, "ade20k").row("fcn_r101")
    mask = next(iter(sorted((tmp_path / "ade" / "ADEChallengeData2016" / "annotations" / "training").iterdir())))
    Image.new("L", (96, 64), 200).save(mask)
    with pytest.raises(InputError, match=f"{mask.name} holds label 200: ade20k has the classes 1 to 150"):
        load_splits(resolve(row.source, Options()).data, str(tmp_path))
    Image.new("L", (95, 64), 1).save(mask)
    with pytest.raises(InputError, match=f"{mask.name} is of 64x95 pixels and its image of 64x96"):
        load_splits(resolve(row.source, Options()).data, str(tmp_path))
    mask.unlink()
    with pytest.raises(InputError, match=f"has no mask .*{mask.name}"):
        load_splits(resolve(row.source, Options()).data, str(tmp_path))


@pytest.mark.parametrize("row", [row for row in ROWS if "_520" in row.name], ids=lambda row: f"{row.suite}-{row.name}")
def test_crops_of_tables_5_and_6_are_of_520_pixels(row: Any) -> None:
    config = row_config(row.source)
    assert list(config.data_preprocessor.size) == [520, 520]
    with DefaultScope.overwrite_default_scope("mmseg"):
        crop = TRANSFORMS.build(config.train_dataloader.dataset.pipeline[3])
    assert tuple(crop.crop_size) == (520, 520)
    evaluation = config.model.test_cfg
    assert evaluation.mode == "whole" or list(evaluation.crop_size) == [520, 520]
