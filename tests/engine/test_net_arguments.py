"""A part of the net that is not there, or has no such argument, is told before anything is built or written."""

from __future__ import annotations

from typing import Any

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.errors import InputError
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
