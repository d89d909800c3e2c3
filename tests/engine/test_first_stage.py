"""What a second stage takes over from its first one; refusals of damaged ones are in test_second_stage.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_record
from tiny_runs import TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.first_stage import FirstStage, like_first_stage
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover
from sar_cls.suites.rows import Source


def first_stage(overrides: dict[str, Any], **handed: Any) -> FirstStage:
    values: dict[str, Any] = {
        "dataset": {"name": "digits", "longtail": {"imbalance_factor": 20.0, "profile": "exponential", "seed": 0}},
        "backbone": {"type": "CIFARResNet", "depth": 14},
        "neck": {"type": "GlobalAveragePooling"},
        "num_classes": 7,
        "in_channels": 64,
        "data_preprocessor": {
            "type": "BatchPreprocessor",
            "mean": [1.0] * 3,
            "std": [2.0] * 3,
            "mixup_alpha": 1.0,
            "views": 2,
        },
    }
    return FirstStage(Path("first"), make_record("s", "r", 1, 50.0, overrides=overrides), Handover(**values | handed))


def test_data_and_net_are_the_first_ones_and_mixup_and_views_are_not() -> None:
    second = resolve(Source(CONFIGS / "digits_lt" / "mislas.py"), Options(stage2_epochs=3), second_stage=True)
    before = second.config.pretty_text
    first = first_stage({"imbalance": 20.0, "weights": "a-file", "size": 64, "val_fraction": 0.2}, bn_batch=16)
    like = like_first_stage(second, first)
    config = like.config
    assert config.train_dataloader.dataset.to_dict() == first.handover.dataset
    assert config.model.backbone.to_dict() == first.handover.backbone
    assert (config.model.head.num_classes, config.model.head.in_channels, config.bn_batch) == (7, 64, 16)
    assert config.data_preprocessor.std == [2.0] * 3
    assert not {"mixup_alpha", "views"} & set(config.data_preprocessor)
    # What changed the data of the first stage changed that of the second; its weights are its own affair.
    assert {key: like.overrides.get(key) for key in ("imbalance", "size", "val_fraction")} == {
        "imbalance": 20.0,
        "size": 64,
        "val_fraction": 0.2,
    }
    assert "weights" not in like.overrides
    assert (like.recipe, like.epochs, like.full_epochs) == (second.recipe, 3, second.full_epochs)
    assert second.config.pretty_text == before


def test_its_weights_come_with_the_images_that_it_had(make_job: Callable[..., Job], cache: DataCache) -> None:
    job = make_job(TINY)
    engine.run(job, Options(epochs=1), cache)
    first = FirstStage.read(job.run_dir)
    splits = cache.get(first.handover.dataset, Options())
    loaded = first.loaded(splits)
    assert first.state_dict == {}
    assert "head.fc.weight" in loaded.state_dict
    other = cache.get({**first.handover.dataset, "longtail": None}, Options())
    with pytest.raises(InputError, match="was trained on other images"):
        first.loaded(other)
    with pytest.raises(InputError, match="had other test images"):
        first.loaded(replace(splits, test=other.train))


def test_a_path_is_called_as_the_user_did(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        FirstStage.read(tmp_path, "my run")
