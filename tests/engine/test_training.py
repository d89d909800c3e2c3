"""Training from the plan to the fields of the record; resuming is in test_checkpoint.py and test_resume.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import TINY, TINY_SAR

from sar_cls.engine import training
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, fit, plan
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs.folder import BEST, CONFIG, HISTORY_FILE, LAST, NET

MakeJob = Callable[..., Job]
Ready = Callable[..., tuple[PlannedRun, DataSplits]]


@pytest.fixture
def ready(make_job: MakeJob, cache: DataCache) -> Ready:
    def make(text: str = TINY, **options: object) -> tuple[PlannedRun, DataSplits]:
        planned = plan(make_job(text), Options(epochs=1, **options))  # type: ignore[arg-type]
        splits = cache.get(planned.config.train_dataloader.dataset.to_dict(), planned.options)
        planned = fit(planned, splits)
        planned.run_dir.mkdir(parents=True)
        return planned, splits

    return make


def test_what_it_leaves_and_says(ready: Ready) -> None:
    planned, splits = ready(TINY_SAR, val_fraction=0.2)
    result = training.execute(planned, splits)
    for name in (LAST, BEST, CONFIG, NET, HISTORY_FILE):
        assert (planned.run_dir / name).is_file()
    assert result["run_id"]
    assert result["best_on"] == "val"
    assert result["extra"]["mode"] == "eager"
    assert result["extra"]["memory_format"] == "channels_last"
    assert result["epochs"] == 1
    assert any(name.endswith("_last_tenth") for name in result["extra"])  # the regularizer's readings


def test_the_runner_is_the_plan(ready: Ready) -> None:
    planned, splits = ready(memory_format="contiguous", precision="bf16")
    runner, progress = training.build_runner(planned, splits)
    try:
        assert progress.title == planned.title
        assert (runner.precision, runner.memory_format, runner.selection) == ("bf16", "contiguous", "test")
        assert runner.max_epochs == 1
        assert runner.seed == planned.seed
        assert set(runner.identity) >= {"recipe", "seed", "epochs", "precision", "options", "test images"}
        weight = next(value for value in runner.bare_model.parameters() if value.ndim == 4 and value.shape[1] > 1)
        assert weight.is_contiguous()
    finally:
        runner.close()


def test_deterministic_algorithms_are_asked_for(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    planned, splits = ready(deterministic=True)
    before = torch.are_deterministic_algorithms_enabled()
    try:
        runner, _ = training.build_runner(planned, splits)
        runner.close()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


def test_a_foreign_checkpoint_stops_it_before_a_file_is_written(ready: Ready) -> None:
    planned, splits = ready()
    (planned.run_dir / LAST).write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        training.build_runner(planned, splits)
    assert [path.name for path in Path(planned.run_dir).iterdir()] == [LAST]


def test_gradients_that_a_checkpoint_would_lose_are_refused(ready: Ready) -> None:
    planned, splits = ready(TINY + "optim_wrapper = dict(accumulative_counts=1000)\n")
    with pytest.raises(InputError, match=r"every 1000 steps and has \d+ from one checkpoint to the next: choose"):
        training.build_runner(planned, splits)
    assert list(planned.run_dir.iterdir()) == []


def test_held_out_images_of_a_tail_pick_the_best_epoch_by_their_classes_mean(ready: Ready) -> None:
    planned, splits = ready(val_fraction=0.2)
    runner, _ = training.build_runner(planned, splits)
    try:
        runner.load_or_resume()
        with torch.no_grad():
            runner.bare_model.head.fc.bias[0] += 2.0  # a class that many are given, as by a net that favours the head
        found = runner.val_loop.run()
        logits = training.predict(runner.bare_model, runner.val_loop.loaders["val"], runner.precision, shared=False)
    finally:
        runner.close()
    right: dict[int, list[bool]] = {}
    for scores, label in zip(logits.tolist(), splits.val.labels.tolist(), strict=True):
        right.setdefault(label, []).append(scores.index(max(scores)) == label)
    shares = [sum(images) / len(images) for images in right.values()]
    assert len({len(images) for images in right.values()}) > 3  # a tail
    assert found["val_macro"] == pytest.approx(100 * sum(shares) / len(shares), abs=1e-9)
    assert abs(found["val_macro"] - found["val_top1"]) > 1
    assert "test_macro" not in found
    runner.history = [
        {"epoch": 1, "val_top1": 90.0, "val_macro": 20.0},
        {"epoch": 2, "val_top1": 80.0, "val_macro": 60.0},
        {"epoch": 3, "val_top1": 85.0, "val_macro": 60.0},
    ]
    assert runner.best_epoch() == 2
