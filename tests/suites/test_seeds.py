"""The order of the benchmark's seeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sar_cls.suites.seeds import PAPER_SEEDS, first_seeds, seeds_up_to


def test_the_papers_seeds_come_first() -> None:
    assert first_seeds(5) == [1270964153, 1024, 5555, 0, 1]
    assert first_seeds(1) == [PAPER_SEEDS[0]]


@given(st.integers(1, 200))
def test_so_many_seeds_reach_the_last_of_them_and_no_fewer_do(number: int) -> None:
    assert seeds_up_to(first_seeds(number)[-1]) == number
