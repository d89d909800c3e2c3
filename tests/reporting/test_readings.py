"""Which readings of regularizers are drawn."""

from __future__ import annotations

import pytest

from sar_cls import REGULARIZERS
from sar_cls.reporting.readings import drawn_readings


def test_those_with_a_title_also_beside_an_entry_that_is_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn_readings()
    assert "share_gate_open" in {reading.name for reading in before}
    assert all(reading.title for reading in before)
    monkeypatch.setitem(REGULARIZERS, "OfTheTest", lambda **arguments: None)
    assert drawn_readings() == before
