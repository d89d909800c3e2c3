"""Images that change between two runs, or between the two halves of one, are noticed: to train on and to test with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import TINY, files_of

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.launch.serial import run_serially
from sar_cls.mm.loaders import load_splits
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST
from sar_cls.runs.record import RECORD_FILE, read_record

MakeJob = Callable[..., Job]

# A suite of one's own names its folder in the config; no option of the command line is involved.
FOLDER = (
    TINY
    + """
train_dataloader = dict(dataset=dict(_delete_=True, name="folder"), batch_size=8)
model = dict(head=dict(num_classes=3))
data_preprocessor = dict(num_classes=3)
"""
)
SECOND = f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\ntrain_cfg = dict(max_epochs=1)\nparam_scheduler = dict(T_max=1)\n'


def picture(seed: int, side: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """8, 4 and 2 training images, two test images a class."""
    root = tmp_path / "images"
    for split, counts in (("train", (8, 4, 2)), ("test", (2, 2, 2))):
        for c, count in enumerate(counts):
            folder = root / split / "abc"[c]
            folder.mkdir(parents=True)
            for index in range(count):
                picture(100 * c + index + 50 * (split == "test")).save(folder / f"{index}.png")
    return root


def options_of(images: Path, **more: Any) -> Options:
    return Options(data_root=str(images), epochs=1, stage2_epochs=1, **more)


@pytest.mark.parametrize(("split", "what"), [("train", "training images"), ("test", "test images")])
def test_a_finished_run_on_other_images_is_refused(images: Path, make_job: MakeJob, split: str, what: str) -> None:
    job, options = make_job(FOLDER), options_of(images)
    engine.run(job, options)
    assert engine.finished(plan(job, options)) is not None
    picture(999).save(images / split / "b" / "1.png")
    before = files_of(job.run_dir)
    with pytest.raises(InputError, match=f"holds a finished run on other {what} than") as caught:
        engine.run(job, options)
    assert len(str(caught.value).splitlines()) == 1
    assert files_of(job.run_dir) == before


def test_a_finished_run_stays_finished_without_its_images(
    images: Path, make_job: MakeJob, capsys: pytest.CaptureFixture
) -> None:
    options, cache = options_of(images), DataCache()
    jobs = [make_job(FOLDER, row="one"), make_job(FOLDER, row="other")]
    for job in jobs:
        engine.run(job, options, cache)
    shutil.rmtree(images)
    capsys.readouterr()
    outcome = run_serially([plan(job, options) for job in jobs])
    assert (len(outcome.done), outcome.failed) == (2, [])
    out, err = capsys.readouterr()
    assert out == "".join(f"{job.title}: finished before\n" for job in jobs)
    assert err.startswith("finished runs are not compared with the images: ")
    assert len(err.splitlines()) == 1  # not once a run


def test_finished_runs_cost_one_look_at_each_data_set(
    make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    balanced = TINY + "train_dataloader = dict(dataset=dict(longtail=None))\n"
    jobs = [make_job(text, row=f"r{index}") for index, text in enumerate((TINY, balanced, TINY, balanced))]
    for job in jobs:
        engine.run(job, Options(epochs=1), cache)
    calls = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return load_splits(*args, **kwargs)

    monkeypatch.setattr(engine, "load_splits", counting)
    outcome = run_serially([plan(job, Options(epochs=1)) for job in jobs])
    assert len(outcome.done) == 4
    assert len(calls) == 2


def test_cub_is_not_decoded_to_look_at_a_finished_run(
    make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    engine.run(job, Options(epochs=1), cache)
    asked = []

    def looking(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs.get("build_cache", True))
        return load_splits(*args, **kwargs)

    monkeypatch.setattr(engine, "load_splits", looking)
    engine.finished(plan(job, Options(epochs=1)))
    assert asked == [False]


def test_test_images_that_change_between_two_halves_of_a_run(images: Path, make_job: MakeJob) -> None:
    job, options = make_job(FOLDER), options_of(images)
    engine.run(job, options)
    (job.run_dir / RECORD_FILE).unlink()
    before = files_of(job.run_dir)
    picture(999).save(images / "test" / "b" / "1.png")
    with pytest.raises(InputError, match=r"last\.pth has another test images"):
        engine.run(job, options)
    assert files_of(job.run_dir) == before


@pytest.mark.parametrize("name", ["test images", "validation images"])
def test_every_set_is_part_of_what_a_checkpoint_must_agree_on(make_job: MakeJob, cache: DataCache, name: str) -> None:
    job, options = make_job(), Options(epochs=1, val_fraction=0.2)
    record = engine.run(job, options, cache)
    (job.run_dir / RECORD_FILE).unlink()
    state = read_checkpoint(job.run_dir / LAST)
    short = {"test images": "test", "validation images": "val"}[name]
    assert state["meta"][name] == record["data_fingerprint"][short]
    state["meta"][name] = "0" * 64
    torch.save(state, job.run_dir / LAST)
    with pytest.raises(InputError, match=f"another {name}"):
        engine.run(job, options, cache)


def test_a_checkpoint_of_before_the_test_images_were_noted_is_resumed(make_job: MakeJob, cache: DataCache) -> None:
    job, options = make_job(), Options(epochs=1)
    engine.run(job, options, cache)
    (job.run_dir / RECORD_FILE).unlink()
    state = read_checkpoint(job.run_dir / LAST)
    del state["meta"]["test images"]
    torch.save(state, job.run_dir / LAST)
    assert engine.run(job, options, cache)["epochs"] == 1


def test_a_second_stage_with_other_test_images_than_its_first(
    make_job: MakeJob, cache: DataCache, tmp_path: Path
) -> None:
    first = make_job()
    engine.run(first, Options(epochs=1), cache)
    record = json.loads((first.run_dir / RECORD_FILE).read_text())
    record["data_fingerprint"]["test"] = "0" * 64
    (first.run_dir / RECORD_FILE).write_text(json.dumps(record))
    second = make_job(SECOND, row="second", stage1_dir=first.run_dir)
    with pytest.raises(InputError, match="had other test images than the second stage would have"):
        engine.run(second, Options(), cache)
    assert not second.run_dir.exists()


def test_a_finished_second_stage_on_other_images(images: Path, make_job: MakeJob) -> None:
    first, options = make_job(FOLDER), options_of(images, val_fraction=0.5)
    engine.run(first, options)
    second = make_job(SECOND, row="second", stage1_dir=first.run_dir)
    own = options_of(images)  # the validation split is the first stage's, without being asked for
    engine.run(second, own)
    assert sorted(read_record(second.run_dir)["data_fingerprint"]) == ["test", "train", "val"]
    assert engine.finished(plan(second, own)) is not None
    picture(999).save(images / "test" / "a" / "0.png")
    with pytest.raises(InputError, match="finished run on other test images"):
        engine.run(second, own)


def test_test_images_of_another_size_are_refused(images: Path) -> None:
    for file in (images / "test").rglob("*.png"):
        picture(1, side=12).save(file)
    with pytest.raises(InputError, match="the test images are of 12x12 pixels and the training images of 8x8"):
        load_splits(dict(name="folder"), str(images))


def test_a_record_says_what_its_images_were_drawn_from(images: Path, make_job: MakeJob, capsys: Any) -> None:
    whole = engine.run(make_job(FOLDER, row="whole"), options_of(images))
    assert whole["extra"]["data_order"] == "sorted by name"
    assert whole["extra"]["images_found"] == 14
    assert whole["train_counts"] == [8, 4, 2]
    assert "training images used" not in capsys.readouterr().err
    tail = FOLDER.replace('name="folder"', 'name="folder", longtail=dict(imbalance_factor=2)')
    cut = engine.run(make_job(tail, row="cut"), options_of(images, val_fraction=0.5))
    assert cut["extra"]["images_found"] == 14
    assert "tiny/cut seed 1: 3 of 14 training images used, 1 held out, sorted by name\n" in capsys.readouterr().err
