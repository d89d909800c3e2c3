"""Reading configs: what is wrong with one, what is read again, and the hash of a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from sar_cls.cli import CONFIGS
from sar_cls.engine import recipe
from sar_cls.engine.config import load_config, recipe_hash, row_config
from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source, load_suite

GOOD = """
model = dict(type="ImageClassifier", head=dict(num_classes=10, in_channels=64, regularizer=dict(type="SAR", tau=0.9)))
data_preprocessor = dict(type="BatchPreprocessor")
train_dataloader = dict(batch_size=64, dataset=dict(name="digits"))
val_dataloader = dict(batch_size=64)
train_cfg = dict(max_epochs=3)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
"""


def write(folder: Path, **files: str | bytes) -> Path:
    """Writes NAME.py files and returns the path of "child.py"."""
    for name, text in files.items():
        (folder / f"{name}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "child.py"


class TestReadingAgain:
    """Configs are kept by the texts of their files."""

    def test_a_copy_each_time(self, tmp_path: Path) -> None:
        path = write(tmp_path, child="_base_ = 'base.py'\nb = [2]\n", base="a = dict(x=1)\n")
        first = load_config(path)
        first.a.x, first.c = 5, 3
        first.b.append(4)
        assert load_config(path).to_dict() == {"a": {"x": 1}, "b": [2]}

    @pytest.mark.parametrize("changed", ["child", "base"])
    def test_what_was_edited_since(self, tmp_path: Path, changed: str) -> None:
        texts = {"child": "_base_ = 'base.py'\nb = 1\n", "base": "a = 1\n"}
        path = write(tmp_path, **texts)
        load_config(path)
        write(tmp_path, **{**texts, changed: texts[changed].replace("1", "2")})
        assert load_config(path).to_dict() == {"a": 1, "b": 1, {"child": "b", "base": "a"}[changed]: 2}

    @pytest.mark.parametrize(
        "text", ["import os\na = os.environ['SOME_SETTING']\ndel os\n", "a = '{{$SOME_SETTING:none}}'\n"]
    )
    def test_what_depends_on_more_than_its_files(
        self, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path, child="_base_ = 'base.py'\n", base=text)
        for value in ("one", "two"):
            monkeypatch.setenv("SOME_SETTING", value)
            assert load_config(path).a == value


class TestErrors:
    @pytest.mark.parametrize(
        ("files", "culprit", "line", "reason"),
        [
            ({"child": "a = 1\nb = (\nc = 3\n"}, "child", 2, "never closed"),
            ({"child": "a = 1\n\nb = 3 +\n"}, "child", 3, "invalid syntax"),
            ({"child": "a = 1\n\nb = undefined\n"}, "child", 3, "NameError"),
            ({"child": "def f():\n    return 1 / 0\n\n\na = f()\n"}, "child", 2, "division by zero"),
            ({"child": "a = 1\n_base_ = './nowhere.py'\n"}, "child", 2, "nowhere.py"),
            ({"child": "_base_ = 'mmpretrain::resnet/nowhere.py'\n"}, "child", 1, "nowhere.py"),
            ({"child": "# one\n_base_ = './base.py'\n", "base": "a = 1\nb = (\n"}, "base", 2, "never closed"),
            ({"child": "# one\n_base_ = './base.py'\n", "base": "a = 1\n\nb = no\n"}, "base", 3, "NameError"),
            ({"child": "_base_ = './base.py'\n\n\nb = no\n", "base": "a = 1\n"}, "child", 4, "NameError"),
            ({"child": b"a = 1\nb = '\xe9'\n"}, "child", 2, "utf-8"),
        ],
    )
    def test_file_and_line_are_named(self, tmp_path: Path, files: dict, culprit: str, line: int, reason: str) -> None:
        path = write(tmp_path, **files)
        with pytest.raises(InputError, match=reason) as error:
            load_config(path)
        assert f"{tmp_path / culprit}.py, line {line}: " in str(error.value)
        assert len(str(error.value).splitlines()) == 1

    @pytest.mark.parametrize(
        "files",
        [
            {"child": b"a = 1\0\n"},
            {"child": "_base_ = ['./base.py', './other.py']\n", "base": "a = 1\n", "other": "a = 2\n"},
            {"child": "_base_ = './base.py'\na = dict(b=1)\n", "base": "a = 1\n"},
            {"child": "raise KeyError\n"},
        ],
    )
    def test_other_mistakes_name_the_file(self, tmp_path: Path, files: dict) -> None:
        path = write(tmp_path, **files)
        with pytest.raises(InputError, match=re.escape(str(path))) as error:
            load_config(path)
        assert len(str(error.value).splitlines()) == 1

    @pytest.mark.parametrize(
        ("files", "where", "says"),
        [
            ({"child": "a = 1\n_base_ = 'child.py'\n"}, "child.py, line 2", "this config itself"),
            (
                {"child": "_base_ = 'b.py'\n", "b": "_base_ = ['c.py']\n", "c": "_base_ = 'b.py'\n"},
                "c.py, line 1",
                "b.py",
            ),
            ({"child": "_base_ = 'b.py'\n", "b": "_base_ = './child.py'\n"}, "b.py, line 1", "child.py"),
        ],
    )
    def test_configs_that_are_based_on_each_other(
        self, tmp_path: Path, files: dict[str, str], where: str, says: str
    ) -> None:
        path = write(tmp_path, **files)
        with pytest.raises(InputError, match=f"{re.escape(where)}: _base_ names .*{re.escape(says)}") as error:
            load_config(path)
        assert len(str(error.value).splitlines()) == 1

    def test_a_base_that_two_bases_share_is_no_circle(self, tmp_path: Path) -> None:
        files = {
            "child": "_base_ = ['b.py', 'c.py']\n",
            "b": "_base_ = 'd.py'\n",
            "c": "_base_ = 'd.py'\n",
            "d": "d = 3\n",
        }
        with pytest.raises(InputError, match="Duplicate key"):
            load_config(write(tmp_path, **files))

    def test_a_missing_config(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.py", tmp_path):
            with pytest.raises(InputError, match=f"no config at {re.escape(str(path))}"):
                load_config(path)

    @pytest.mark.parametrize(
        "missing",
        ["model", "data_preprocessor", "train_dataloader", "val_dataloader", "train_cfg", "optim_wrapper"],
    )
    def test_an_incomplete_config(self, tmp_path: Path, missing: str) -> None:
        text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{missing} ="))
        with pytest.raises(InputError, match=f"has no {missing}"):
            recipe.resolve(Source(write(tmp_path, child=text)), Options())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"modle": {"head": {}}}, "the row sets 'modle', which child.py does not have; did you mean model?"),
            ({"xyzzy": 1}, "the row sets 'xyzzy', which child.py does not have; it can set model,"),
            ({"train_dataloader": {"batch_size": {"a": 1}}}, "what the row sets does not fit child.py"),
        ],
    )
    def test_a_row_that_sets_what_the_config_does_not_have(self, tmp_path: Path, changes: dict, message: str) -> None:
        with pytest.raises(InputError) as error:
            row_config(Source(write(tmp_path, child=GOOD), changes, "suite.toml:7"))
        assert str(error.value).startswith(f"suite.toml:7: {message}")

    def test_class_counts_are_left_to_the_data(self, tmp_path: Path) -> None:
        loss = {"_delete_": True, "type": "BalancedSoftmax", "class_counts": "train"}
        base = GOOD.replace("regularizer=", 'loss=dict(type="CrossEntropyLoss", use_soft=True), regularizer=')
        config = row_config(Source(write(tmp_path, child=base), {"model": {"head": {"loss": loss}}}))
        assert config.model.head.loss.to_dict() == {"type": "BalancedSoftmax", "class_counts": None}
        assert loss["_delete_"] is True  # what a suite holds stays as it is

    @pytest.mark.parametrize(
        ("regularizer", "reason"),
        [
            ('dict(type="SARR")', "unknown regularizer 'SARR'.*SAR"),
            ("dict()", "unknown regularizer None"),
            ('dict(type="SAR", tau=2)', "tau"),
            ('dict(type="SAR", taau=0.5)', "taau"),
            ('dict(type="FixedAnchors", kind="none")', "none"),
        ],
    )
    def test_a_bad_regularizer(self, tmp_path: Path, regularizer: str, reason: str) -> None:
        path = write(tmp_path, child=GOOD.replace('dict(type="SAR", tau=0.9)', regularizer))
        with pytest.raises(InputError, match=reason) as error:
            recipe.resolve(Source(path), Options())
        assert str(path) in str(error.value)


class TestRecipeHash:
    def made(self, **changes: Any) -> Config:
        config = Config.fromstring(GOOD, ".py")
        config.merge_from_dict(changes)
        return config

    def test_the_same_recipe(self) -> None:
        assert recipe_hash(self.made()) == recipe_hash(self.made())
        assert re.fullmatch("[0-9a-f]{12}", recipe_hash(self.made()))

    @pytest.mark.parametrize(
        "changes",
        [
            dict(work_dir="/somewhere"),
            dict(seed=5),
            dict(randomness=dict(seed=5, deterministic=True)),
            dict(load_from="a.pth", resume=True),
            dict(log_level="INFO", default_scope="mmpretrain"),
            dict(visualizer=dict(type="Visualizer"), default_hooks=dict(logger=None)),
        ],
    )
    def test_what_does_not_count(self, changes: dict) -> None:
        assert recipe_hash(self.made(**changes)) == recipe_hash(self.made())

    @pytest.mark.parametrize(
        "changes",
        [
            {"optim_wrapper.optimizer.lr": 0.2},
            {"train_cfg.max_epochs": 4},
            {"train_dataloader.batch_size": 65},
            {"model.head.regularizer.tau": 0.8},
            {"model.head.regularizer.type": "CAR"},
            {"train_dataloader.dataset.name": "cifar10"},
            {"data_preprocessor.flip": 0.5},
            {"param_scheduler": dict(type="CosineAnnealingLR")},
        ],
    )
    def test_what_counts(self, changes: dict) -> None:
        assert recipe_hash(self.made(**changes)) != recipe_hash(self.made())

    def test_lists_and_tuples_are_the_same(self) -> None:
        lists, tuples = self.made(milestones=[1, 2]), self.made(milestones=(1, 2))
        assert recipe_hash(lists) == recipe_hash(tuples)

    def test_it_survives_writing_and_reading(self, tmp_path: Path) -> None:
        for suite, row in (("cifar100_lt", "mixup_mislas"), ("digits", "sar")):
            config = row_config(load_suite(CONFIGS, suite).row(row).source)
            config.dump(tmp_path / "dumped.py")
            assert recipe_hash(load_config(tmp_path / "dumped.py")) == recipe_hash(config)

    def test_rows_of_a_suite_differ(self) -> None:
        for suite in ("digits", "digits_lt"):
            rows = [row for row in load_suite(CONFIGS, suite).rows if row.stage == 1]
            assert len({recipe_hash(row_config(row.source)) for row in rows}) == len(rows) > 1
