"""Mean, spread and paired differences over seeds.

Two methods are compared on the same seeds: for each seed that both have, the difference is taken, and the 95 %
interval of its mean follows from Student's t with n - 1 degrees of freedom (the paired t-test; scipy). Pairing takes
out what both share, such as the initial weights and the order of samples. A difference whose interval holds 0 is
called not significant. With one pair there is a difference but no interval, and nothing can be said about
significance. The interval assumes that differences between seeds are about normal; it is not corrected for the number
of rows in a table, which :mod:`sar_cls.reporting.families` does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (n - 1 in the denominator; None for n < 2) and number of values."""

    mean: float | None
    std: float | None
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference over paired seeds with its confidence interval.

    Attributes:
        mean: mean of the differences; None without a pair.
        low: lower end of the interval; None for fewer than two pairs.
        high: upper end of the interval; None for fewer than two pairs.
        n: number of pairs.
        error: standard error of the mean; None for fewer than two pairs.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    error: float | None = None

    @property
    def significant(self) -> bool | None:
        """Whether the interval leaves 0 out; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 0 <= self.high

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the paired t-test of no difference; None for fewer than two pairs.

        Where all pairs differ by the same, the test has no spread to go by: 1 for no difference at all, else 0.
        """
        if self.mean is None or self.error is None:
            return None
        if self.error == 0:
            return float(self.mean == 0)
        from scipy.special import stdtr  # the distribution function of Student's t

        return float(2 * stdtr(self.n - 1, -abs(self.mean) / self.error))

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """The t interval of the mean difference at this coverage; None for fewer than two pairs.

        Raises:
            ValueError: ``confidence`` outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is usual")
        if self.mean is None or self.error is None:
            return None
        from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes a second longer to import

        half = float(stdtrit(self.n - 1, 0.5 + confidence / 2)) * self.error
        return self.mean - half, self.mean + half


def summarize(values: Iterable[float | None]) -> Summary:
    """Mean ± sample standard deviation of the values; None and NaN are left out."""
    kept = [float(value) for value in values if _is_number(value)]
    if not kept:
        return Summary(None, None, 0)
    return Summary(statistics.fmean(kept), statistics.stdev(kept) if len(kept) > 1 else None, len(kept))


def paired_difference(
    ours: Mapping[int, float | None], baseline: Mapping[int, float | None], confidence: float = 0.95
) -> PairedDifference:
    """Mean of ``ours[seed] - baseline[seed]`` over the seeds that both have, with its t interval.

    Args:
        ours: seed -> value.
        baseline: seed -> value.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        ValueError: ``confidence`` outside (0, 1).
    """
    pairs = [(ours[seed], baseline[seed]) for seed in ours if seed in baseline]
    differences = [float(a) - float(b) for a, b in pairs if _is_number(a) and _is_number(b)]
    summary = summarize(differences)
    error = None if summary.std is None else summary.std / math.sqrt(summary.n)
    difference = PairedDifference(summary.mean, None, None, summary.n, error)
    low, high = difference.interval(confidence) or (None, None)
    return replace(difference, low=low, high=high)


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
