"""What only the images know of a config, and configs that do not fit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TINY
from tiny_scenes import DENSE, write_camvid

from sar_cls.cli import CONFIGS
from sar_cls.data import ImageSet
from sar_cls.engine import run as engine
from sar_cls.engine.fitting import check_batch, fit_to_data
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import Resolved, resolve
from sar_cls.engine.run import Job
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits, load_splits
from sar_cls.suites.rows import Source

LOSS = {"model": {"head": {"loss": {"_delete_": True, "type": "BalancedSoftmax", "class_counts": "train"}}}}


def splits_of(counts: list[int], side: int = 8) -> DataSplits:
    names = tuple(f"class {number}" for number in range(len(counts)))

    def part(split: str, numbers: list[int]) -> ImageSet:
        labels = torch.repeat_interleave(torch.arange(len(numbers)), torch.tensor(numbers))
        images = torch.zeros(len(labels), side, side, 3, dtype=torch.uint8)
        return ImageSet(images, labels, names, "digits", split)

    return DataSplits(part("train", counts), part("test", [2] * len(counts)))


def resolved_of(changes: dict[str, Any] | None = None, **options: Any) -> Resolved:
    return resolve(Source(CONFIGS / "digits_lt" / "mixup.py", changes or {}), Options(**options))


def test_the_class_counts_of_a_loss() -> None:
    counts = [9, 8, 7, 6, 5, 4, 3, 2, 1, 1]
    resolved = resolved_of(LOSS)
    fitted = fit_to_data(resolved, splits_of(counts))
    assert fitted.config.model.head.loss.class_counts == counts
    assert resolved.config.model.head.loss.class_counts is None
    assert (fitted.recipe, fitted.overrides, fitted.epochs) == (resolved.recipe, resolved.overrides, resolved.epochs)


DENSE_LOSSES = """
counted = dict(type="GeneralizedReweighting", class_counts=None)
model["decode_head"]["loss_decode"] = [dict(type="CrossEntropyLoss"), counted]
model["auxiliary_head"] = dict(
    type="RegularizedFCNHead", in_channels=48, in_index=2, channels=8, num_classes=11, loss_decode=dict(counted)
)
"""


def test_the_class_counts_of_all_losses_of_a_segmentation_net(tmp_path: Path) -> None:
    """Of one of several, and of an auxiliary head."""
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    write_camvid(tmp_path, size=(40, 48))
    (tmp_path / "row.py").write_text(DENSE + DENSE_LOSSES)
    resolved = resolve(Source(tmp_path / "row.py"), Options())
    splits = load_splits(resolved.data, str(tmp_path))
    model = fit_to_data(resolved, splits).config.model
    counts = [int((splits.train.labels == label).sum()) for label in range(11)]
    assert model.decode_head.loss_decode[1].class_counts == model.auxiliary_head.loss_decode.class_counts == counts
    assert "class_counts" not in model.decode_head.loss_decode[0]
    assert resolved.config.model.decode_head.loss_decode[1].class_counts is None


def test_other_classes_than_the_head_has() -> None:
    with pytest.raises(InputError, match=r"mixup.py has a head of 10 classes and the data has 7"):
        fit_to_data(resolved_of(), splits_of([3] * 7))


def test_soft_labels_of_another_number_of_classes(make_job: Callable[..., Job]) -> None:
    for number in (7, 12):
        job = make_job(TINY + f"data_preprocessor = dict(num_classes={number})\n")
        with pytest.raises(
            InputError, match=rf"data_preprocessor\.num_classes is {number} and the data has 10 classes"
        ):
            engine.run(job, Options(epochs=1))
        assert not job.run_dir.exists()


def test_another_data_set_by_the_command_line_has_its_own_head_and_mixup() -> None:
    fitted = fit_to_data(resolved_of(dataset="cifar100"), splits_of([3] * 7))
    assert fitted.config.model.head.num_classes == 7
    assert fitted.config.data_preprocessor.num_classes == 7
    with pytest.raises(InputError, match="a head of 10 classes"):  # a second stage's head is its first one's
        fit_to_data(resolved_of(dataset="cifar100"), splits_of([3] * 7), second_stage=True)


def test_a_crop_that_does_not_fit() -> None:
    changes = {"data_preprocessor": {"crop_size": 9}}
    with pytest.raises(InputError, match="a crop of 9 pixels does not fit into images of 8x8"):
        fit_to_data(resolved_of(changes), splits_of([3] * 10))
    assert fit_to_data(resolved_of(changes), splits_of([3] * 10, side=9)).config.data_preprocessor.crop_size == 9


@pytest.mark.parametrize("overrides", [{}, {"imbalance": 20.0}, {"classes": 5}, {"weights": "none"}])
def test_a_batch_is_at_most_the_training_set(overrides: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    resolved = replace(resolved_of(), overrides=overrides)
    batch = resolved.config.train_dataloader.batch_size
    check_batch(resolved, batch)
    assert capsys.readouterr().err == ""
    if {"imbalance", "classes"} & set(overrides):  # the command line left fewer images
        check_batch(resolved, batch - 1)
        assert f"the training set has {batch - 1}: every epoch is one step" in capsys.readouterr().err
    else:
        with pytest.raises(InputError, match="use a smaller batch_size"):
            check_batch(resolved, batch - 1)
