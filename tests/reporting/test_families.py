"""Holm's adjustment against the closed test that it is a short cut of, and intervals against the table of t."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.reporting.families import adjust, holm
from sar_cls.reporting.stats import paired_difference

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def closed_bonferroni(p_values: Sequence[float]) -> list[float]:
    """The adjusted p-value of a hypothesis: the largest Bonferroni p-value of any set of hypotheses that it belongs to."""
    numbers = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in itertools.combinations(numbers, size)]
    of_set = {chosen: min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in sets}
    return [max(p for chosen, p in of_set.items() if number in chosen) for number in numbers]


def test_by_hand() -> None:
    # In order 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, and none may be below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4]) == [0.4]
    assert holm([]) == []
    assert holm([0.5, 0.5, 0.9]) == [1.0, 1.0, 1.0]


@settings(deadline=None, max_examples=100)
@given(P_VALUES)
def test_it_is_the_closed_test(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(closed_bonferroni(p_values), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(P_VALUES, st.randoms())
def test_order_does_not_matter_and_no_p_value_falls(p_values: list[float], random) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)
    found = holm(p_values)
    assert holm([p_values[i] for i in order]) == [found[i] for i in order]
    assert all(after >= before for before, after in zip(p_values, found, strict=True))


@pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="statsmodels is not installed")
def test_against_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    for size in range(1, 30):
        p_values = np.random.default_rng(size).uniform(size=size) ** 3
        np.testing.assert_allclose(holm(p_values.tolist()), multipletests(p_values, method="holm")[1], rtol=1e-12)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, wrong])


def test_the_chance_of_any_false_finding_is_held_where_plain_tests_let_it_grow() -> None:
    """5 rows that do nothing, against one baseline (so that they depend on each other), 2,000 times."""
    rng = np.random.default_rng(0)
    plain = adjusted = outside = 0
    for _ in range(2000):
        baseline = dict(enumerate(rng.normal(size=4)))
        family = [paired_difference(dict(enumerate(rng.normal(size=4))), baseline) for _ in range(5)]
        found = [one for one in adjust(family) if one is not None]
        plain += any(d.significant for d in family)
        adjusted += any(one.p < 0.05 for one in found)
        outside += any(not one.low <= 0 <= one.high for one in found)
    assert plain > 0.12 * 2000
    # Five standard errors of a share of 5 % above it.
    assert outside <= adjusted < (0.05 + 5 * math.sqrt(0.05 * 0.95 / 2000)) * 2000


class TestAdjust:
    BASELINE = {1: 10.0, 2: 20.0, 3: 30.0}

    def test_two_rows(self) -> None:
        # Differences 1, 2, 3: mean 2, standard error 1 / sqrt 3, t = 3.4641. The cdf of t with 2 degrees of freedom is
        # 1/2 + t / (2 sqrt(2 + t^2)): p = 1 - 3.4641 / sqrt 14 = 0.0742. With -1, 0, 1: p = 1.
        one = paired_difference({1: 11.0, 2: 22.0, 3: 33.0}, self.BASELINE)
        two = paired_difference({1: 9.0, 2: 20.0, 3: 31.0}, self.BASELINE)
        p = 1 - math.sqrt(12 / 14)
        assert (one.p, two.p) == pytest.approx((p, 1.0))
        first, second = adjust([one, two])
        assert first is not None
        assert second is not None
        assert (first.p, second.p, first.size) == (pytest.approx(2 * p), 1.0, 2)
        half = 6.2053 / math.sqrt(3)  # the 98.75 % point of t with 2 degrees of freedom, from a printed table
        assert (first.low, first.high) == pytest.approx((2 - half, 2 + half), abs=1e-4)
        assert (second.low, second.high) == pytest.approx((-half, half), abs=1e-4)

    def test_rows_without_a_test_are_not_counted(self) -> None:
        good = paired_difference({1: 11.0, 2: 22.5}, self.BASELINE)
        single = paired_difference({1: 11.0}, self.BASELINE)
        assert adjust([good, None, single]) == [None, None, None]
        found = adjust([good, None, single, good])
        assert [one is None for one in found] == [False, True, True, False]
        assert found[0] is not None
        assert found[0].size == 2

    def test_pairs_that_all_differ_by_the_same(self) -> None:
        same = paired_difference(self.BASELINE, self.BASELINE)
        more = paired_difference({seed: value + 1 for seed, value in self.BASELINE.items()}, self.BASELINE)
        assert (same.p, more.p) == (1.0, 0.0)
        first, second = adjust([same, more])
        assert first is not None
        assert second is not None
        assert (first.low, first.high, second.low, second.high) == (0.0, 0.0, 1.0, 1.0)
