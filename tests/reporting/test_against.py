"""Runs made here and elsewhere: only those of the same recipe, images and seed are pairs; intervals computed by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_record, second_stage

from sar_cls.reporting.tables.against import against_table, made_twice
from sar_cls.suites.rows import Suite

from .table_suites import T_3_PAIRS, make_suite, refuse

NOTHING = "No run of one side was made on the other: none has the same recipe, images and seed."


def test_interval_of_the_seeds_that_both_have(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    ours, theirs = {1: 40.5, 2: 40.9, 3: 43.2, 4: 99.0}, {1: 40.0, 2: 41.0, 3: 43.0, 5: 1.0}
    here = [run(make_record("lt", "mixup", seed, top1)) for seed, top1 in ours.items()]
    there = [run(make_record("lt", "mixup", seed, top1)) for seed, top1 in theirs.items()]
    differences = [0.5, -0.1, 0.2]
    half = T_3_PAIRS * statistics.stdev(differences) / math.sqrt(3)
    text = against_table([pairs], here, there, refuse)
    assert f"| +0.20 [{0.2 - half:+.2f}, {0.2 + half:+.2f}] n.s. (3 pairs) | +0.50 " in text
    assert "| lt/mixup | 41.53 ± 1.46 | 41.33 ± 1.53 |" in text
    assert "1 run here without a counterpart" in text


def test_both_sides_say_where_they_were_made(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    machine = {"accelerator": "A card", "cores": 16}
    here = [run(make_record("lt", "mixup", 1, 40.0, device="cuda", machine=machine, versions={"torch": "9.1"}))]
    there = [run(make_record("lt", "mixup", 1, 41.0, device="cpu", versions={"torch": "8.0"}))]
    text = against_table([pairs], here, there, refuse)
    assert "- here, 1 run: code " in text
    assert "torch 9.1; on A card in fp32." in text
    assert "torch 8.0; on cpu in fp32." in text
    assert "-1.00 (1 pair)" in text
    assert "without a counterpart" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 20},
        {"overrides": {"val_fraction": 0.1}},
        {"config_hash": "x"},
        {"data_fingerprint": {"train": "c" * 64, "test": "d" * 64}},
    ],
)
def test_another_recipe_or_other_images_are_no_pair(
    changes: dict[str, Any], pairs: Suite, run: Callable[..., dict[str, Any]]
) -> None:
    here, there = [run(make_record("lt", "mixup", 1, 40.0))], [run(make_record("lt", "mixup", 1, 41.0, **changes))]
    assert against_table([pairs], here, there, refuse) == NOTHING


def test_a_copy_of_a_run_is_no_second_run_of_it(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    here = [run(make_record("lt", "mixup", seed, 40.0)) for seed in (1, 2)]
    copies = "2 runs are one and the same on both sides: a copy says nothing about how a run comes out a second time."
    assert against_table([pairs], here, here, refuse) == copies
    more = [*here, run(make_record("lt", "mixup", 3, 40.0))]
    alone = "1 run here without a counterpart: none there has the same recipe, images and seed."
    assert against_table([pairs], more, here, refuse) == f"{copies} {alone}"
    there = [here[0], run(make_record("lt", "mixup", 2, 41.0))]
    text = against_table([pairs], here, there, refuse)
    assert "\n- 1 run is one and the same on both sides" in text
    assert "without a counterpart" not in text
    (pair,) = made_twice(pairs, here, there, refuse)
    assert pair.seeds == (2,)


def test_precision_is_named_where_it_differs(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    here = [run(make_record("lt", "mixup", 1, 40.0, precision="bf16"))]
    there = [run(make_record("lt", "mixup", 1, 41.0))]
    assert "| lt/mixup, bf16 here, fp32 there | 40.00 " in against_table([pairs], here, there, refuse)
    assert "bf16" not in against_table([pairs], there, [run(make_record("lt", "mixup", 1, 41.0))], refuse)


def test_second_stages_by_the_recipe_of_their_first(pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    sides: list[list[dict[str, Any]]] = []
    for epochs in ((200, 20), (200, 100)):
        sides.append([])
        for number in epochs:
            first = run(make_record("lt", "mixup", 1, 40.0, epochs=number))
            sides[-1] += [first, run(second_stage("lt", "mixup_mislas", 45.0, first))]
    found = [(pair.name, pair.seeds) for pair in made_twice(pairs, sides[0], sides[1], refuse)]
    assert found == [("lt/mixup", (1,)), ("lt/mixup_mislas", (1,))]
    # a first stage that is not there (only its second was kept) changes nothing
    kept = [record for record in sides[1] if record["stage"] == 2]
    assert [pair.name for pair in made_twice(pairs, sides[0], kept, refuse)] == ["lt/mixup_mislas"]


def test_a_row_of_several_suites_stands_once(tmp_path: Path, pairs: Suite, run: Callable[..., dict[str, Any]]) -> None:
    text = (
        'title = "More"\nimbalance = 100\nmetric = "top1"\n\n[[rows]]\nname = "mixup"\nsuite = "lt"\nlabel = "MixUp"\n'
    )
    more = make_suite(tmp_path, "more", text)
    here, there = [run(make_record("lt", "mixup", 1, 40.0))], [run(make_record("lt", "mixup", 1, 41.0))]
    table = against_table([more, pairs], here, there, refuse)
    assert table.count("lt/mixup ") == 1
    assert "more/" not in table
