"""A part of the net that is not there, or has no such argument, is told before anything is built or written."""

from __future__ import annotations

from typing import Any

import pytest
from mmpretrain.registry import MODELS

from sar_cls.cli import CONFIGS
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.errors import InputError
from sar_cls.mm.head import RegularizedLinearClsHead
from sar_cls.suites.rows import Source


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"model": {"backbone": {"dpeth": 8}}},
            "backbone: CIFARResNet.* has no argument 'dpeth': did you mean 'depth'",
        ),
        ({"model": {"backbone": {"type": "CIFARResNett"}}}, "no backbone 'CIFARResNett': did you mean .*ResNet"),
        ({"model": {"head": {"loss": {"use_sfot": True}}}}, "loss: .* has no argument 'use_sfot': did you mean"),
        (
            {"model": {"head": {"feature_layers": "linear"}}},
            "head: RegularizedLinearClsHead has no argument 'feature_layers': did you mean 'feature_layer'",
        ),
        ({"model": {"head": {"tpok": (1, 5)}}}, "head: .* has no argument 'tpok': did you mean 'topk'"),
        ({"data_preprocessor": {"paddding": 4}}, "data_preprocessor: .* 'paddding': did you mean 'padding'"),
        (
            {"optim_wrapper": {"optimizer": {"momentun": 0.9}}},
            "optimizer: SGD has no argument 'momentun': did you mean",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_unknown_settings(changes: dict[str, Any], says: str) -> None:
    source = Source(CONFIGS / "digits" / "baseline.py", changes, "mine/suite.toml:3", "mine/a")
    with pytest.raises(InputError, match=f"^mine/suite.toml:3, .*{says}"):
        resolve(source, Options())


def test_arguments_that_a_head_passes_on_are_known() -> None:
    changes = {"model": {"head": {"topk": (1, 5), "cal_acc": False, "init_cfg": None}}}
    resolve(Source(CONFIGS / "digits" / "baseline.py", changes, "mine/suite.toml:3", "mine/a"), Options())


def test_a_head_of_one_s_own_may_take_any(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnHead(RegularizedLinearClsHead):
        def __init__(self, **kwargs: Any) -> None:
            self.mine = kwargs.pop("mine")
            super().__init__(**kwargs)

    MODELS.register_module(module=OwnHead, force=True)
    monkeypatch.setitem(MODELS.module_dict, "OwnHead", OwnHead)  # and gone with the test
    changes = {"model": {"head": {"type": "OwnHead", "mine": 3}}}
    resolve(Source(CONFIGS / "digits" / "baseline.py", changes, "mine/suite.toml:3", "mine/a"), Options())
