"""Statistics against figures that were computed by hand from the formulas and the table of Student's t."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.reporting.stats import paired_difference, summarize

# Two-sided 95 % points of Student's t, from a printed table: degrees of freedom -> quantile.
T_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045}


def test_mean_and_sample_standard_deviation() -> None:
    summary = summarize([2.0, 4.0, 9.0])  # mean 5; squares 9 + 1 + 16 = 26; 26 / 2 = 13
    assert summary.mean == 5.0
    assert summary.std == pytest.approx(math.sqrt(13))
    assert summary.n == 3


def test_one_value_has_no_spread_and_none_has_no_mean() -> None:
    assert summarize([3.0]).std is None
    assert summarize([3.0]).mean == 3.0
    assert (summarize([]).mean, summarize([]).std, summarize([]).n) == (None, None, 0)
    assert summarize([None, float("nan"), 3.0]) == summarize([3.0])


@pytest.mark.parametrize("degrees", T_TABLE)
def test_interval_against_the_table_of_t(degrees: int) -> None:
    differences = [0.1 * (i % 4) + 0.03 * i for i in range(degrees + 1)]
    baseline = {seed: 50.0 + seed for seed in range(degrees + 1)}
    ours = {seed: baseline[seed] + difference for seed, difference in enumerate(differences)}
    n = len(differences)
    mean = sum(differences) / n
    std = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    half = T_TABLE[degrees] * std / math.sqrt(n)
    found = paired_difference(ours, baseline)
    assert found.n == n
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.low == pytest.approx(mean - half, rel=5e-4, abs=2e-4)
    assert found.high == pytest.approx(mean + half, rel=5e-4, abs=2e-4)
    assert found.significant is (not mean - half <= 0 <= mean + half)


def test_only_common_seeds_are_paired() -> None:
    found = paired_difference({1: 10.0, 2: 20.0, 3: 99.0}, {2: 19.0, 1: 9.5, 4: 0.0})
    assert found.n == 2
    assert found.mean == pytest.approx(0.75)


def test_pairing_takes_out_what_seeds_share() -> None:
    """Seeds spread by 10 points, the method adds 0.5 to each: found paired, and hopeless unpaired."""
    baseline = {0: 60.0, 1: 70.0, 2: 80.0}
    found = paired_difference({0: 60.5, 1: 70.6, 2: 80.4}, baseline)
    assert found.significant
    assert found.low == pytest.approx(0.5 - 4.3027 * 0.1 / math.sqrt(3), abs=1e-4)


def test_one_pair_has_a_difference_and_no_interval() -> None:
    found = paired_difference({5: 71.0}, {5: 70.0})
    assert (found.mean, found.low, found.high, found.n, found.significant) == (1.0, None, None, 1, None)


def test_no_pair() -> None:
    found = paired_difference({5: 71.0, 6: None}, {6: 70.0})
    assert (found.mean, found.n, found.significant) == (None, 0, None)


def test_interval_that_touches_zero_is_not_significant_and_equal_differences_are() -> None:
    assert paired_difference({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}).significant is False
    assert paired_difference({0: 2.0, 1: 2.0}, {0: 1.0, 1: 1.0}).significant is True


def test_confidence_outside_0_1() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_difference({0: 1.0}, {0: 1.0}, confidence=95)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=8), st.floats(-50, 50))
def test_shifting_both_changes_nothing_and_swapping_turns_the_sign(pairs: list, shift: float) -> None:
    ours = {seed: a for seed, (a, _) in enumerate(pairs)}
    baseline = {seed: b for seed, (_, b) in enumerate(pairs)}
    found = paired_difference(ours, baseline)
    shifted = paired_difference({s: a + shift for s, a in ours.items()}, {s: b + shift for s, b in baseline.items()})
    swapped = paired_difference(baseline, ours)
    assert shifted.mean == pytest.approx(found.mean, abs=1e-9)
    assert shifted.low == pytest.approx(found.low, abs=1e-7)
    assert swapped.low == pytest.approx(-found.high, abs=1e-9)
