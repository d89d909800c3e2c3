"""Two precisions beside each other: only runs that differ in nothing else, paired by seed; intervals computed by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from synthetic_runs import make_record, second_stage

from sar_cls.reporting.tables.precisions import precision_pairs, precision_table
from sar_cls.suites.rows import Suite

from .table_suites import T_3_PAIRS, refuse


def test_interval_of_paired_seeds(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    exact, short = {1: 40.0, 2: 41.0, 3: 43.0}, {1: 40.5, 2: 40.9, 3: 43.2, 4: 99.0}
    records = [run(make_record("lt", "mixup", seed, top1)) for seed, top1 in exact.items()]
    records += [run(make_record("lt", "mixup", seed, top1, precision="bf16")) for seed, top1 in short.items()]
    differences = [0.5, -0.1, 0.2]
    half = T_3_PAIRS * statistics.stdev(differences) / math.sqrt(3)
    text = precision_table([pairs], records, refuse)
    assert f"+0.20 [{0.2 - half:.2f}, {0.2 + half:.2f}], not significant" in text
    assert "| 41.33 ± 1.53 | 41.53 ± 1.46 (bf16) |" in text
    assert text.rstrip().endswith("| 3       |")


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 20},
        {"overrides": {"val_fraction": 0.1}},
        {"config_hash": "x"},
        {"data_fingerprint": {"train": "c" * 64, "test": "d" * 64}},
    ],
)
def test_whatever_else_differs_is_not_compared(
    changes: dict[str, Any], pairs: Suite, run: Callable[..., dict[str, Any]]
) -> None:
    records = [
        run(make_record("lt", "mixup", 1, 40.0)),
        run(make_record("lt", "mixup", 1, 41.0, precision="bf16", **changes)),
    ]
    assert precision_table([pairs], records, refuse) == ""


def test_second_stages_whose_first_differ_in_precision_alone(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    records = []
    for precision, epochs in (("fp32", 200), ("bf16", 200), ("bf16", 20)):
        first = run(make_record("lt", "mixup", 1, 40.0, precision=precision, epochs=epochs))
        records += [first, run(second_stage("lt", "mixup_mislas", 45.0, first, precision=precision))]
    compared = precision_pairs(pairs, records, refuse)
    found = [(exact.row.name, exact.recipe.precision, other.recipe.precision) for exact, other in compared]
    assert found == [("mixup", "fp32", "bf16"), ("mixup_mislas", "fp32", "bf16")]
    assert all(other.recipe.stage1 is None or other.recipe.stage1.epochs == 200 for _, other in compared)


def test_one_pair_has_no_interval_and_shortened_runs_say_so(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    records = [
        run(make_record("lt", "mixup", 1, 40.0, epochs=10)),
        run(make_record("lt", "mixup", 1, 41.0, epochs=10, precision="bf16")),
    ]
    assert "| lt/mixup, 10 of 200 epochs | 40.00  | 41.00 (bf16)      | +1.00" in precision_table(
        [pairs], records, refuse
    )
