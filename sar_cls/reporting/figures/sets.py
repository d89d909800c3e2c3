"""Which rows are drawn side by side, and with which colours: the same in every figure of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sar_cls.reporting.figures.labels import slug
from sar_cls.reporting.figures.series import Series
from sar_cls.reporting.figures.style import RowStyle, style
from sar_cls.reporting.groups import Group, baseline_of
from sar_cls.suites.rows import Row, Suite


@dataclass(frozen=True)
class RowSet:
    """Rows of one stage and group, of one imbalance factor, with those shown beside them.

    Attributes:
        name: with which the names of its figures begin.
        rows: in the suite's order.
        imbalance: the factor; None for a suite that is not long-tailed.
    """

    name: str
    rows: tuple[Row, ...]
    imbalance: float | None


def row_sets(suite: Suite, ran: Sequence[tuple[str, float | None]]) -> list[RowSet]:
    """The sets of a suite of which a row was run.

    Beside the rows of a group stand their baselines and the rows that name the group in ``also_in``.

    Args:
        suite: the suite.
        ran: names and imbalance factors of the rows that were run.
    """
    found: dict[tuple[float | None, str, int], RowSet] = {}
    titles: set[str] = set()
    for name, imbalance in ran:
        row = suite.row(name)
        key = (imbalance, row.group, row.stage)
        if key in found:
            continue
        factor = f"if{imbalance:g}" if imbalance is not None else ""
        parts = (suite.name, factor, slug(row.group), f"stage{row.stage}" if suite.two_stage else "")
        title = _unused("-".join(part for part in parts if part), titles)
        titles.add(title)
        known = {other for other, factor in ran if factor == imbalance}
        found[key] = RowSet(title, tuple(_beside(suite, row.group, row.stage, known)), imbalance)
    return list(found.values())


def _unused(title: str, taken: set[str]) -> str:
    """``title``, numbered where another group has it: names may differ in nothing that a file name keeps."""
    numbered = (title if number == 1 else f"{title}-{number}" for number in count(1))
    return next(name for name in numbered if name not in taken)


def _beside(suite: Suite, group: str, stage: int, known: set[str]) -> list[Row]:
    """The rows of a group and stage, the baselines of those that are ``known``, and the rows that are also in the group."""
    own = [row for row in suite.rows if (row.group, row.stage) == (group, stage)]
    baselines = {row.baseline for row in own if row.name in known}
    return [
        row
        for row in suite.rows
        if row.stage == stage and (row in own or row.name in baselines or (group and group in row.also_in))
    ]


def row_styles(suite: Suite) -> dict[str, RowStyle]:
    """What each row of a suite is drawn with, whatever was run and in whichever figure.

    The rows that are drawn side by side get different styles, the first of them black. A second stage takes the style of its first
    where no other row beside it has it.
    """
    known = {row.name for row in suite.rows}
    groups = dict.fromkeys((row.group, row.stage) for row in suite.rows)
    sets = [[row.name for row in _beside(suite, group, stage, known)] for group, stage in groups]
    chosen: dict[str, int] = {}
    for row in suite.rows:
        neighbours = {name for names in sets if row.name in names for name in names}
        taken = {chosen[name] for name in neighbours if name in chosen}
        wanted = None if row.after is None else chosen.get(row.after)
        chosen[row.name] = wanted if wanted is not None and wanted not in taken else _free(taken)
    return {name: style(index) for name, index in chosen.items()}


def _free(taken: set[int]) -> int:
    index = 0
    while index in taken:
        index += 1
    return index


def series_of(
    suite: Suite,
    groups: Mapping[str, list[Group]],
    run_dirs: Mapping[str, Path],
    styles: Mapping[str, RowStyle],
) -> dict[tuple[str, float | None], Series]:
    """Row and imbalance factor -> its runs by the recipe that its table shows first, with those they are paired with.

    Args:
        suite: the suite.
        groups: its runs by row and recipe.
        run_dirs: id of a run -> its directory.
        styles: of the rows.
    """
    found: dict[tuple[str, float | None], Series] = {}
    for row in suite.rows:
        for group in groups[row.name]:
            key = (row.name, group.recipe.imbalance)
            if key not in found:
                baseline = baseline_of(group, groups)
                beside = None if baseline is None else _series(suite, baseline, run_dirs, styles, None)
                found[key] = _series(suite, group, run_dirs, styles, beside)
    return found


def _series(
    suite: Suite, group: Group, run_dirs: Mapping[str, Path], styles: Mapping[str, RowStyle], baseline: Series | None
) -> Series:
    runs: Sequence[Mapping[str, Any]] = group.runs
    return Series(
        label=suite.full_label(group.row),
        run_dirs=tuple(run_dirs[run["run_id"]] for run in runs),
        train_counts=tuple(runs[0]["train_counts"]),
        details=tuple(group.recipe.deviations(group.row)),
        row=group.row.name,
        records=tuple(runs),
        baseline=baseline,
        style=styles[group.row.name],
    )
