"""What a shorter precision does to a result: runs that differ in nothing else, paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tabulate import tabulate

from sar_cls.reporting.groups import Group, group_runs
from sar_cls.reporting.stats import PairedDifference, paired_difference, summarize
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

EXACT = "fp32"


def precision_pairs(suite: Suite, records: Iterable[Mapping[str, Any]], warn: Warn) -> list[tuple[Group, Group]]:
    """(runs in fp32, runs in another precision) of each row and recipe that has both with a seed in common."""
    found = []
    for groups in group_runs(suite, records, warn).values():
        for exact in (group for group in groups if group.recipe.precision == EXACT):
            for other in groups:
                same = other.recipe.without_precision == exact.recipe.without_precision
                if same and other.recipe.precision != EXACT and exact.seeds & other.seeds:
                    found.append((exact, other))
    return found


def precision_table(suites: Iterable[Suite], records: Iterable[Mapping[str, Any]], warn: Warn) -> str:
    """A line a row: the headline metric in both precisions over the seeds that both have, and the paired difference.

    Empty where no row was run in two precisions.
    """
    records = list(records)
    lines = []
    for suite in suites:
        for exact, other in precision_pairs(suite, records, warn):
            both = sorted(exact.seeds & other.seeds)
            ours, theirs = ({s: g.values("last", suite.metric)[s] for s in both} for g in (other, exact))
            name = ", ".join((f"{suite.name}/{exact.row.name}", *exact.recipe.deviations(exact.row)))
            difference = paired_difference(ours, theirs)
            lines.append(
                [
                    name,
                    _mean(theirs),
                    f"{_mean(ours)} ({other.recipe.precision})",
                    _interval(difference),
                    difference.n,
                ]
            )
    if not lines:
        return ""
    headings = ["row", EXACT, "other precision", "difference [95 %]", "pairs"]
    return tabulate(lines, headings, tablefmt="github", disable_numparse=True)


def _mean(values: Mapping[int, float | None]) -> str:
    summary = summarize(values.values())
    return (
        "–"
        if summary.mean is None
        else f"{summary.mean:.2f}" + ("" if summary.std is None else f" ± {summary.std:.2f}")
    )


def _interval(difference: PairedDifference) -> str:
    if difference.mean is None:
        return "–"
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.2f}"
    sign = "" if difference.significant else ", not significant"
    return f"{difference.mean:+.2f} [{difference.low:.2f}, {difference.high:.2f}]{sign}"
