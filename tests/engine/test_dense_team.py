"""Several processes make one run of a segmentation net: its record, its predictions, and how it goes on after a kill."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from tiny_scenes import DENSE_SAR, DISALIGN, STREETS, write_camvid, write_cityscapes

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from engine.started_team import Start, started
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import LAST
from sar_cls.runs.record import is_finished, read_record

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not hasattr(os, "fork"), reason="needs gloo and forks"
)
SUITE = """
title = "Scenes"
metric = "miou"

[[rows]]
name = "sar"
label = "SAR"

[[rows]]
name = "sar_disalign"
label = "SAR, DisAlign"
method = "disalign"
after = "sar"

[[rows]]
name = "streets"
label = "Streets"
"""
SAR = DENSE_SAR.replace("train_dataloader = dict(batch_size=2)", "train_dataloader = dict(batch_size=4)")


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    with started("sar_cls.mm.seg", "mmseg.datasets", "timm") as run:
        yield run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a suite of its own."""
    root = tmp_path_factory.mktemp("place")
    write_camvid(root / "data", n=5, size=(40, 48))
    write_cityscapes(root / "data")
    suite = root / "configs" / "scenes"
    suite.mkdir(parents=True)
    for name, text in (("suite.toml", SUITE), ("sar.py", SAR), ("sar_disalign.py", DISALIGN), ("streets.py", STREETS)):
        (suite / name).write_text(text)
    return root


def command(place: Path, work: Path, *more: str) -> list[str]:
    given = ["--configs", str(place / "configs"), "--data-root", str(place / "data"), "--work-dir", str(work)]
    return ["run", "--suite", "scenes", "--seed", "1", "--device", "cpu", *given, *more]


@pytest.fixture(scope="module")
def whole(place: Path, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a suite that two processes ran without interruption."""
    work = tmp_path_factory.mktemp("whole")
    ended = start(command(place, work, "--only", "sar", "sar_disalign"))
    assert ended.codes == [0, 0], ended.texts
    assert ended.texts[1] == ""
    return work


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


def assert_same(run: Path, other: Path) -> None:
    assert history(run) == history(other)
    one, two = read_dense_outputs(run), read_dense_outputs(other)
    for epoch in ("last", "best"):
        assert np.array_equal(getattr(one, epoch).confusion, getattr(two, epoch).confusion)
        assert np.array_equal(getattr(one, epoch).predictions, getattr(two, epoch).predictions)
    assert read_record(run)["metrics"] == read_record(other)["metrics"]


def test_the_record_says_who_has_trained(whole: Path) -> None:
    run = whole / "scenes" / "sar" / "seed1"
    record = read_record(run)
    assert record["extra"]["distributed"] == {
        "processes": 2,
        "batch_per_process": 2,
        "sync_bn": False,
        "batch_norm_images": 2,
        "local_statistics": False,
    }
    assert [row["iteration"] for row in history(run)] == ["2", "4", "6"]
    outputs = read_dense_outputs(run)
    assert outputs.labels is not None
    counted = outputs.labels != 255
    assert outputs.last.confusion.sum() == counted.sum()
    right = (outputs.last.predictions == outputs.labels)[counted].mean()
    assert record["metrics"]["last"]["pixel_accuracy"] == pytest.approx(100 * right)


def test_a_second_stage_is_shared_too(whole: Path) -> None:
    first, second = (whole / "scenes" / row / "seed1" for row in ("sar", "sar_disalign"))
    record = read_record(second)
    assert record["extra"]["distributed"]["processes"] == 2
    assert record["stage1"]["run_id"] == read_record(first)["run_id"]
    before, after = (read_checkpoint(run / LAST)["state_dict"] for run in (first, second))
    assert all(torch.equal(before[key], after[key]) for key in before if key in after)
    assert bool((after["decode_head.calibration.margin"] != 0).any())  # where it has begun


@pytest.mark.parametrize("rank", [0, 1])
def test_killed_and_resumed_it_says_the_same_of_every_pixel(
    rank: int, place: Path, whole: Path, start: Start, tmp_path: Path
) -> None:
    arguments = command(place, tmp_path, "--only", "sar")
    assert start(arguments, kill={"rank": rank, "step": 3}).codes == ([-9, 1] if rank == 0 else [1, -9])
    run = tmp_path / "scenes" / "sar" / "seed1"
    assert read_checkpoint(run / LAST)["meta"]["epoch"] == 1
    assert not is_finished(run)
    assert start(arguments).codes == [0, 0]
    assert_same(run, whole / "scenes" / "sar" / "seed1")


@pytest.mark.slow
def test_pipelines_of_mmseg_are_shared(place: Path, start: Start, tmp_path: Path) -> None:
    """As the only batch norm is a ``SyncBN``, it is the run of one process."""
    one, two = tmp_path / "one", tmp_path / "two"
    for work, processes in ((one, 1), (two, 2)):
        ended = start(command(place, work, "--only", "streets"), processes=processes)
        assert ended.codes == [0] * processes, ended.texts
    alone, together = (work / "scenes" / "streets" / "seed1" for work in (one, two))
    said = read_record(together)["extra"]["distributed"]
    assert (said["sync_bn"], said["batch_norm_images"], said["batch_per_process"]) == (False, 2, 1)
    for row, other in zip(history(alone), history(together), strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)
    found, expected = read_dense_outputs(together).last.confusion, read_dense_outputs(alone).last.confusion
    assert found.sum() == expected.sum()
