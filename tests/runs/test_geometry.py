"""The geometry in a record: what is read back, and what is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from sar_cls.errors import InputError
from sar_cls.runs.geometry import ENTRY, FORMAT, recorded_geometry

GROUPS = {"all": {"nc1": 0.5, "effective_rank": "fewer images than dimensions"}}


def record(entry: Any) -> dict[str, Any]:
    return {"suite": "digits", "row": "sar", "run": "seed1", "extra": {} if entry is None else {ENTRY: entry}}


def test_figures_and_reasons_come_back() -> None:
    found = recorded_geometry(record({"format": FORMAT, "test": GROUPS, "train": GROUPS}))
    assert found == {"test": GROUPS, "train": GROUPS}
    assert recorded_geometry(record(None)) is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("text", "is damaged: make it again with sar-cls features --again"),
        ({"test": GROUPS, "train": GROUPS}, "is damaged"),
        ({"format": FORMAT, "test": GROUPS}, "is damaged"),
        ({"format": FORMAT, "test": GROUPS, "train": {"all": 3}}, "is damaged"),
        ({"format": FORMAT, "test": GROUPS, "train": {"all": {"nc1": [1]}}}, "is damaged"),
        ({"format": FORMAT + 1}, f"newer version (format {FORMAT + 1}): update the project"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(entry: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        recorded_geometry(record(entry))
    assert "digits/sar/seed1" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
