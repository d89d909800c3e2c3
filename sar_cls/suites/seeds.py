"""The seeds of the benchmark, in their order."""

from __future__ import annotations

# The paper's seeds (Tab. 12, 14, 15) first, then 0, 1, 2, ...
PAPER_SEEDS = (1270964153, 1024, 5555)


def first_seeds(number: int) -> list[int]:
    """The first ``number`` seeds."""
    return [*PAPER_SEEDS, *range(max(0, number - len(PAPER_SEEDS)))][:number]


def seeds_up_to(seed: int) -> int:
    """How many seeds have to be run so that ``seed`` is among them."""
    return PAPER_SEEDS.index(seed) + 1 if seed in PAPER_SEEDS else len(PAPER_SEEDS) + seed + 1
