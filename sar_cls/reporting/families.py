"""Several rows against one baseline: the more are compared, the likelier one of them looks better by chance alone.

A family is all rows of a suite (at one imbalance factor) that are compared with the same runs of the same baseline and have two
or more pairs, whether a table shows them together or not. For each of its m rows are given

- the p-value of the paired t-test, adjusted by Holm's step-down method: with the p-values in rising order,
  p~_(k) = max over j <= k of min(1, (m - j + 1) p_(j)). Calling the rows with p~ < 0.05 different is wrong about any of them
  with a probability of at most 5 %, however the rows depend on each other (Holm 1979, "A simple sequentially rejective multiple
  test procedure", Scandinavian Journal of Statistics 6:65-70).
- the interval at the level 1 - 0.05/m: by Bonferroni's inequality all m of them hold at once with at least 95 %.

The two differ on purpose. Taking 0.05/(m - k + 1) for the k-th interval looks like Holm's but does not hold for all rows at once,
and the intervals that belong to Holm's test say no more of a row found different than the side of 0 on which it lies (Strassburger
and Bretz 2008, Statistics in Medicine 27:4914; Guilbaud 2008, Biometrical Journal 50:678). So a row can have p~ < 0.05 and a
simultaneous interval that holds 0: there is a difference, its size is uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sar_cls.reporting.stats import PairedDifference


@dataclass(frozen=True)
class Adjusted:
    """A row's comparison as one of a family.

    Attributes:
        p: Holm's adjusted p-value.
        low: lower end of the simultaneous 95 % interval.
        high: its upper end.
        size: number of rows in the family.
    """

    p: float
    low: float
    high: float
    size: int


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of ``p_values``.

    Raises:
        ValueError: a value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1, not {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def adjust(differences: Sequence[PairedDifference | None], confidence: float = 0.95) -> list[Adjusted | None]:
    """The comparisons of one family; None for one without a test, and for all where fewer than two have one."""
    tested = [(index, d, d.p) for index, d in enumerate(differences) if d is not None]
    family = [(index, d, p) for index, d, p in tested if p is not None]
    result: list[Adjusted | None] = [None] * len(differences)
    if len(family) < 2:
        return result
    for (index, difference, _), p in zip(family, holm([p for _, _, p in family]), strict=True):
        ends = difference.interval(1 - (1 - confidence) / len(family))
        if ends is not None:
            result[index] = Adjusted(p, *ends, len(family))
    return result
