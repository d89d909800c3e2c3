"""Rules for the learning rates of single parts: those that would do nothing are refused, and so are settings out of range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sar_cls import SAR
from sar_cls.cli import CONFIGS
from sar_cls.engine.options import Options
from sar_cls.engine.rate_rules import check_rate_rules
from sar_cls.engine.recipe import resolve
from sar_cls.errors import InputError
from sar_cls.suites.places import SUITE_FILE
from sar_cls.suites.rows import list_suites, load_suite

HEAD: dict[str, Any] = dict(type="RegularizedLinearClsHead", num_classes=3, in_channels=4)
SCALED = dict(HEAD, classifier=dict(type="scaled"))


@pytest.mark.parametrize(
    ("paramwise", "head"),
    [
        (None, HEAD),
        (dict(norm_decay_mult=0.0), HEAD),
        (dict(custom_keys={"head.regularizer.embedding": dict(lr_mult=0.1, decay_mult=0)}), HEAD),
        (dict(custom_keys={"head.regularizer": dict(lr_mult=2), "head.fc": {}, "head.fc.bias": dict(lr_mult=0)}), HEAD),
        (dict(custom_keys={"head.fc.scaling.scale": dict(lr_mult=0.2)}), SCALED),
        (dict(custom_keys={"backbone.conv1": dict(lr_mult=0.2), "bias": dict(decay_mult=0.0)}), HEAD),
        (dict(custom_keys={"head.own": dict(lr_mult=0.2)}), dict(type="HeadOfSomeoneElse")),
    ],
)
def test_what_does_something_is_taken(paramwise: Any, head: dict[str, Any]) -> None:
    check_rate_rules(paramwise, head, SAR(3, 4))


@pytest.mark.parametrize(
    ("paramwise", "message"),
    [
        ([0.1], "must be tables"),
        (dict(custom_keys=[0.1]), "must be tables"),
        (dict(custom_key={}), "no setting 'custom_key': did you mean 'custom_keys'"),
        (dict(custom_keys={"head.fc": 0.1}), r"the rule of 'head.fc' must be a table"),
        (dict(custom_keys={"head.fc": dict(lr_mul=0.1)}), "no setting 'lr_mul': did you mean 'lr_mult'"),
        (dict(custom_keys={"head.fc": dict(momentum=0.1)}), "'momentum': known are lr_mult, decay_mult"),
        (dict(custom_keys={"head.fc": dict(lr_mult=-0.1)}), "lr_mult of 'head.fc' is -0.1: give a finite number"),
        (dict(custom_keys={"head.fc": dict(lr_mult="0.1")}), "is '0.1': give"),
        (dict(custom_keys={"head.fc": dict(decay_mult=float("nan"))}), "decay_mult of 'head.fc' is nan"),
        (dict(custom_keys={"head.fc": dict(lr_mult=True)}), "is True"),
        (
            dict(custom_keys={"head.regularizer.embeding": dict(lr_mult=0.1)}),
            "'head.regularizer.embeding': did you mean 'head.regularizer.embedding'",
        ),
        (
            dict(custom_keys={"head.fc.scaling": dict(lr_mult=0.1)}),
            "no weight of the head has a name with 'head.fc.scal",
        ),
    ],
)
def test_what_would_do_nothing_is_refused(paramwise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_rate_rules(paramwise, HEAD, SAR(3, 4))
    assert "\n" not in str(caught.value)


def test_a_regularizer_without_an_embedding() -> None:
    with pytest.raises(ValueError, match=r"no weight of the head has a name with 'head.regularizer.embedding'"):
        check_rate_rules(dict(custom_keys={"head.regularizer.embedding": dict(lr_mult=0.1)}), HEAD, None)


# A grid's settings, as a user would get them wrong

GRID = """
title = "Mine"
metric = "top1"
[[rows]]
name = "base"
label = "Base"
config = "CONFIG"
[[rows]]
name = "sar_{value}"
label = "SAR {value}"
like = "base"
grid.value = [VALUES]
SETTING
"""
SET = 'set.model.head.regularizer = { type = "SAR", %s = "{value}" }'


def first_row_in_error(folder: Path, config: str, values: str, setting: str) -> str:
    """The sentence by which the rows of a grid are refused."""
    (folder / "mine").mkdir()
    text = GRID.replace("CONFIG", config).replace("VALUES", values).replace("SETTING", setting)
    (folder / "mine" / SUITE_FILE).write_text(text, encoding="utf-8")

    def resolve_all() -> None:
        for row in load_suite(folder, "mine").rows:
            resolve(row.source, Options())

    with pytest.raises(InputError) as caught:
        resolve_all()
    assert f"mine/{SUITE_FILE}:" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "setting", "message"),
    [
        ("0.5", SET % "tua", "SAR has no argument 'tua': did you mean 'tau'?"),
        ("0.5, 1.5", SET % "tau", "SAR: tau is 1.5: give a number above 0 and at most 1"),
        ("0.9, 1.0", SET % "momentum", "SAR: momentum is 1.0: give a number of at least 0 and below 1"),
        ("0.1, -0.1", SET % "aux_weight", "SAR: aux_weight is -0.1: give a finite number of at least 0"),
        ("10, 0.5", SET % "aux_warmup", "SAR: aux_warmup is 0.5: give a whole number of at least 0"),
        ('"all", "some"', SET % "gate", "SAR: gate is 'some': choose one of all, per_class"),
        ("", SET % "tau", "grid.value must be an array of at least one value"),
        (
            "0.1",
            'set.modle.head.tau = "{value}"',
            "the row sets 'modle', which baseline.py does not have; did you mean model?",
        ),
        ("0.1, 0", 'set.optim_wrapper.optimizer.lr = "{value}"', "optimizer.lr is 0 and must be above 0"),
        (
            "0.1",
            'set.optim_wrapper.paramwise_cfg.custom_keys = { "head.regularizer.embedding" = { lr_mult = "{value}" } }',
            "no weight of the head has a name with 'head.regularizer.embedding'",
        ),
    ],
)
def test_a_grid_of_what_is_not_there_or_out_of_range(tmp_path: Path, values: str, setting: str, message: str) -> None:
    assert message in first_row_in_error(tmp_path, "digits/baseline.py", values, setting)


@pytest.mark.parametrize(
    ("config", "kind", "nearest"),
    [
        ("cifar100_lt/ce.py", "orthogonal", "tight_frame"),
        ("cifar100_lt/ce.py", "simplex", "tight_frame"),
        ("digits/baseline.py", "tight_frame", "orthogonal"),
    ],
)
@pytest.mark.parametrize("regularizer", ["FixedAnchors", "SAR"])
def test_anchors_that_do_not_exist_name_the_nearest(
    tmp_path: Path, config: str, kind: str, nearest: str, regularizer: str
) -> None:
    name = "kind" if regularizer == "FixedAnchors" else "anchors"
    setting = f'set.model.head.regularizer = {{ type = "{regularizer}", {name} = "{{value}}" }}'
    message = first_row_in_error(tmp_path, config, f'"normal", "{kind}"', setting)
    assert f"'{nearest}'" in message


@pytest.mark.parametrize(
    "name", [name for name in list_suites(CONFIGS) if name.startswith(("ablation", "sensitivity"))]
)
def test_the_shipped_grids_are_sound(name: str) -> None:
    """Every value of every grid, and the anchors of every row."""
    for row in load_suite(CONFIGS, name).rows:
        resolve(row.source, Options(), second_stage=row.stage == 2)
