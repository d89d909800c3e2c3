"""A row's config with the options applied: what is an override, what is none, what does not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from sar_cls.cli import CONFIGS
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import Resolved, resolve, run_name, second_stage_name
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

PLAIN, TAIL = Source(CONFIGS / "digits" / "baseline.py"), Source(CONFIGS / "digits_lt" / "mixup.py")
MISLAS = Source(CONFIGS / "digits_lt" / "mislas.py")


@pytest.mark.parametrize(
    ("source", "options", "overrides"),
    [
        (TAIL, {}, {}),
        (TAIL, {"imbalance": 10}, {}),  # the recipe's own
        (TAIL, {"imbalance": 50.0}, {"imbalance": 50.0}),
        (TAIL, {"imbalance": "none"}, {"imbalance": "none"}),
        (PLAIN, {"imbalance": "none"}, {}),  # it has no tail as it is
        (PLAIN, {"dataset": "digits"}, {}),
        (PLAIN, {"dataset": "cifar10"}, {"dataset": "cifar10"}),
        (PLAIN, {"dataset": "cifar100", "classes": 10}, {"dataset": "cifar100", "classes": 10}),
        (PLAIN, {"dataset": "cifar100", "classes": 100}, {"dataset": "cifar100"}),
        (PLAIN, {"backbone": "timm:resnet18"}, {"backbone": "timm:resnet18"}),
        (PLAIN, {"bn_batch": 16}, {"bn_batch": 16}),
        (PLAIN, {"weights": "none"}, {"weights": "none"}),
        (PLAIN, {"val_fraction": 0.1}, {"val_fraction": 0.1}),
        (PLAIN, {"dataset": "folder", "image_size": 16}, {"dataset": "folder", "size": 16}),
        # What does not change the result is no override, and neither is what has fields of its own.
        (PLAIN, {"tensorboard": True, "threads": 2, "device": "cuda", "precision": "bf16", "epochs": 3}, {}),
    ],
)
def test_overrides(source: Source, options: dict[str, Any], overrides: dict[str, Any]) -> None:
    resolved = resolve(source, Options(**options))
    assert resolved.overrides == overrides
    assert resolved.recipe == resolve(source, Options()).recipe
    assert resolved.epochs == options.get("epochs", resolved.full_epochs)
    assert resolved.precision == options.get("precision", "fp32")


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (PLAIN, {"imbalance": 10}, "is no long-tailed row: leave --imbalance out"),
        (PLAIN, {"image_size": 16}, "--image-size is for folders of images: digits/baseline takes digits"),
        (PLAIN, {"classes": 5}, "--classes is for CIFAR and CUB-200: digits/baseline takes all classes of digits"),
        (PLAIN, {"dataset": "cifar10", "classes": 11}, "--classes 11: cifar10 has 10; give a number from 2 to 10"),
        (PLAIN, {"dataset": "cifar100", "classes": 1}, "--classes 1: cifar100 has 100; give a number from 2 to 100"),
        (PLAIN, {"bn_batch": 64}, "is not below the batch of 64"),
    ],
)
def test_options_that_do_not_fit(source: Source, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve(source, Options(**options))


def test_a_second_stage_leaves_what_is_its_first_ones() -> None:
    options = Options(
        imbalance=50.0, dataset="cifar10", backbone="timm:resnet18", bn_batch=16, epochs=3, stage2_epochs=2
    )
    resolved = resolve(MISLAS, options, second_stage=True)
    assert (resolved.overrides, resolved.epochs) == ({}, 2)


def test_a_second_stage_comes_after_another_row_and_a_first_one_does_not() -> None:
    with pytest.raises(InputError, match="is a second stage: name the row of its first stage by after"):
        resolve(MISLAS, Options())
    with pytest.raises(InputError, match="comes after another row and its config trains a whole net: leave after out"):
        resolve(PLAIN, Options(), second_stage=True)


def test_weights_are_named_by_content(tmp_path: Path) -> None:
    file = tmp_path / "my net.pth"
    torch.save({"weight": torch.zeros(1)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    resolved = resolve(PLAIN, Options(weights=str(file)))
    assert resolved.overrides == {"weights": f"my net-{digest}"}
    assert run_name(1, Options(), resolved) == f"seed1-from_my_net_{digest}"


def named(overrides: dict[str, Any], **more: Any) -> Resolved:
    resolved = resolve(PLAIN, Options(**more))
    resolved.overrides.update(overrides)
    return resolved


@pytest.mark.parametrize(
    ("overrides", "more", "name"),
    [
        ({}, {}, "seed7"),
        ({"imbalance": 100.0, "val_fraction": 0.25}, {"epochs": 5}, "seed7-epochs5-if100-val0.25"),
        ({"dataset": "cifar10", "backbone": "timm:a/b c"}, {}, "seed7-cifar10-timm_a_b_c"),
        ({"full_epochs": True}, {"precision": "bf16"}, "seed7-full_epochs-bf16"),
    ],
)
def test_names_of_folders(overrides: dict[str, Any], more: dict[str, Any], name: str) -> None:
    assert run_name(7, Options(), named(overrides, **more)) == name


def test_a_second_stage_is_named_after_its_first_and_what_changed_about_itself() -> None:
    resolved = resolve(MISLAS, Options(stage2_epochs=2, hold="frozen", full_epochs=True), second_stage=True)
    name = second_stage_name(Path("work/s/r/seed7-if50"), Options(), resolved)
    assert name == "seed7-if50-then2-full-frozen"


@pytest.mark.parametrize("key", ["model", "data_preprocessor", "train_dataloader", "train_cfg", "optim_wrapper"])
def test_a_part_that_is_missing(tmp_path: Path, key: str) -> None:
    path = tmp_path / "row.py"
    path.write_text(f'_base_ = "{PLAIN.config}"\n{key} = None\n')
    with pytest.raises(InputError, match=f"row.py has no {key}: add it, or inherit it by _base_"):
        resolve(Source(path), Options())
