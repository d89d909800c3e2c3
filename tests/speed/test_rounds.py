"""Rounds, spreads and ratios, with contenders that only note their turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.speed import markdown as table
from sar_cls.speed import rounds
from sar_cls.speed.rounds import Contender, Spread, Timing

CPU = torch.device("cpu")


def test_contenders_take_turns_and_begin_in_turn() -> None:
    turns: list[str] = []
    processes: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(
            name,
            name,
            10,
            run=lambda: turns.append(name),
            process=lambda: processes.append(name),
            settle=lambda: turns.append(f"settle {name}"),
            mode=lambda: "m",
        )

    lines: list[str] = []
    timings = rounds.measure([contender(name) for name in "abc"], 3, CPU, "title", lines.append)
    assert turns[::2] == [f"settle {name}" for name in turns[1::2]]
    played = "".join(turns[1::2])
    assert "".join(processes) == played
    # An untimed round before the first.
    assert [played[start : start + 3] for start in range(0, 12, 3)] == ["cab", "abc", "bca", "cab"]
    assert [len(timing.seconds) for timing in timings] == [3, 3, 3]
    assert [timing.mode for timing in timings] == ["m", "m", "m"]
    assert lines[0].startswith("title: warmed up, about 0:0")


def test_settling_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def spend(seconds: float) -> None:
        clock[0] += seconds

    contender = Contender("a", "a", 30, run=lambda: spend(2.0), settle=lambda: spend(100.0))
    (timing,) = rounds.measure([contender], 2, CPU, say=lambda line: None)
    assert timing.seconds == [2.0, 2.0]
    assert timing.rate == Spread(15.0, 15.0, 15.0)


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_ratios_are_taken_within_a_round(number: int) -> None:
    generator = np.random.default_rng(number)
    own, other = generator.uniform(1, 2, number), generator.uniform(1, 2, number)
    ratio = Timing("a", "", 20, list(own)).ratio_to(Timing("b", "", 10, list(other)))
    expected = np.quantile(2 * other / own, [0.5, 0.25, 0.75])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx(tuple(expected))


def test_a_table_shows_rates_and_ratios() -> None:
    timings = [
        Timing("bare", "(a) bare", 100, [1.0, 2.0], "eager"),
        Timing("loop", "(b) loop", 100, [2.0, 4.0], "eager"),
    ]
    text = table.timing_table(timings, [("bare", "to (a)"), ("loop", "to (b)"), ("stock", "to (d)")])
    header, _, first, second = text.splitlines()
    assert "to (a)" in header
    assert "to (d)" not in header
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        "(a) bare", "eager", "75 [62, 88]", "1", "2.000 [2.000, 2.000]",
    ]  # fmt: skip
    assert "0.500 [0.500, 0.500]" in second
    (data, _) = table.timing_data(timings, [("loop", "to (b)")])
    assert data["seconds"] == [1.0, 2.0]
    assert data["ratio_to"] == {"loop": {"median": 2.0, "low": 2.0, "high": 2.0}}
