"""Values of records: names that stay in their folder, numbers that can be computed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import make_record

from sar_cls.runs.values import is_name, values_problem

SOUND = make_record("digits", "sar", 1, 50.0, run="seed1", overrides={}, best_on="test")


@given(st.text())
def test_a_name_leads_into_its_parent_and_nowhere_else(text: str) -> None:
    if not is_name(text):
        return
    path = Path("/work") / text
    assert path.parent == Path("/work")
    assert path.name == text
    assert ".." not in path.parts
    assert len(text.encode()) <= 255


@pytest.mark.parametrize("name", ["seed1", "seed1-if2.5-from_a", "é", "a b", "x" * 255, "-"])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "c:x", "a\0", "a\n", "x" * 256, "é" * 128, 1, None]
)
def test_no_names(name: Any) -> None:
    assert not is_name(name)


def test_a_sound_record() -> None:
    assert values_problem(SOUND) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2**32}, "'seed'"),
        ({"seed": -1}, "'seed'"),
        ({"run": "../x"}, "'run' is no plain name"),
        ({"precision": "a/b"}, "'precision'"),
        ({"overrides": {"imbalance": 0.5}}, "overrides['imbalance'] is not a number of at least 1, or none"),
        ({"overrides": {"imbalance": True}}, "imbalance"),
        ({"overrides": {"imbalance": 10**400}}, "imbalance"),
        ({"overrides": {"val_fraction": 1}}, "val_fraction"),
        ({"overrides": {"classes": 2.0}}, "classes"),
        ({"overrides": {"later": [1]}}, "overrides['later'] is not a plain value"),
        ({"data_fingerprint": {"train": "a"}}, "data_fingerprint['test']"),
        ({"data_fingerprint": {"train": "a", "test": "b", "val": 1}}, "data_fingerprint['val']"),
        ({"metrics": {"last": {"top1": "50"}, "best": {"top1": 1}}}, "metrics['last']['top1']"),
        ({"metrics": {"last": {"top1": 1}, "best": {"top1": float("nan")}}}, "metrics['best']['top1']"),
        ({"best_on": "train"}, "best_on"),
        ({"git": {"commit": 5}}, "commit"),
        ({"wall_seconds": "long"}, "wall_seconds"),
    ],
)
def test_the_first_wrong_value_is_named(change: dict[str, Any], words: str) -> None:
    record = SOUND | change
    problem = values_problem(record)
    assert problem is not None
    assert words in problem
