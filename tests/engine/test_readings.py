"""A record keeps of a regularizer's readings what the regularizer names; generic code knows no method."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import sar_cls
from sar_cls.engine.readings import in_record, remarks
from sar_cls.regularizers import REGULARIZERS, Reading

PACKAGE = Path(sar_cls.__file__).parent
READINGS = (
    Reading("share", in_record=True, remark_at_zero="It slept."),
    Reading("other"),
    Reading("absent", in_record=True),
)


def test_means_over_all_epochs_and_over_the_last_tenth() -> None:
    history = [{"share": float(epoch < 18), "other": 1.0} for epoch in range(20)]
    assert in_record(history, READINGS) == {"share": pytest.approx(0.9), "share_last_tenth": 0.0}
    assert remarks(history, READINGS) == ["It slept."]
    assert remarks(history[:18], READINGS) == []
    assert in_record(history[:1], READINGS)["share_last_tenth"] == 1.0
    assert in_record(history, ()) == {}


@pytest.mark.parametrize("name", REGULARIZERS)
def test_readings_are_what_is_read(name: str) -> None:
    built = REGULARIZERS[name](num_classes=3, feat_dim=4)
    built(torch.randn(6, 4), torch.arange(6) % 3, torch.nn.Linear(4, 3))
    assert [reading.name for reading in built.readings] == list(built.diagnostics())


def test_generic_code_names_no_reading() -> None:
    names = {reading.name for kind in REGULARIZERS.values() for reading in kind.readings}
    assert "share_gate_open" in names
    for room in ("engine", "launch", "mm", "steps", "runs", "reporting", "suites", "commands"):
        for file in (PACKAGE / room).glob("**/*.py"):
            words = set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
            assert not names & words, file
