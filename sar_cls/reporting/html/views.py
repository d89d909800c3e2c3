"""What the report shows together: the lines of a suite at one imbalance factor, each with its runs and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sar_cls.reporting.comparison import Line, beside_runs, compare
from sar_cls.reporting.groups import Group
from sar_cls.reporting.tables.suite_tables import table_title
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

Runs = Sequence[tuple[Path, Mapping[str, Any]]]


@dataclass(frozen=True)
class Entry:
    """A line of a table that has runs.

    Attributes:
        key: names it in the page.
        label: of the row, with its first stage's.
        line: the line.
        group: its runs.
        run_dirs: their folders, in the order of the runs.
        baseline: the runs that it is compared with.
        baseline_label: what they are called.
    """

    key: str
    label: str
    line: Line
    group: Group
    run_dirs: tuple[Path, ...]
    baseline: Group | None
    baseline_label: str

    @property
    def details(self) -> tuple[str, ...]:
        """How its recipe differs from the row's own, and what tells it from other lines of the row."""
        return (*self.line.deviations, *self.line.others)

    @property
    def name(self) -> str:
        """The label with the details in brackets."""
        return self.label + (f" ({', '.join(self.details)})" if self.details else "")


@dataclass(frozen=True)
class View:
    """A suite at one imbalance factor.

    Attributes:
        key: names it in the page.
        title: heading.
        suite: the suite.
        imbalance: the factor.
        lines: all lines, each with its entry where it has runs.
    """

    key: str
    title: str
    suite: Suite
    imbalance: float | None
    lines: tuple[tuple[Line, Entry | None], ...]

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entry in self.lines if entry is not None]


def make_views(suites: Iterable[Suite], runs: Runs, warn: Warn) -> list[View]:
    """The views of the given suites, without those that they include; the same lines as in the tables of ``report.py``."""
    records = [record for _, record in runs]
    folders = {record["run_id"]: folder for folder, record in runs}
    views: list[View] = []
    number = 0
    for suite, lines in beside_runs([(suite, compare(suite, records, warn)) for suite in suites]):
        for imbalance in dict.fromkeys(line.imbalance for line in lines):
            shown: list[tuple[Line, Entry | None]] = []
            for line in (line for line in lines if line.imbalance == imbalance):
                entry = None
                if line.group is not None:
                    number += 1
                    entry = _entry(f"e{number}", suite, line, line.group, folders)
                shown.append((line, entry))
            views.append(View(f"v{len(views) + 1}", table_title(suite, imbalance), suite, imbalance, tuple(shown)))
    return views


def _entry(key: str, suite: Suite, line: Line, group: Group, folders: Mapping[str, Path]) -> Entry:
    return Entry(
        key=key,
        label=suite.full_label(line.row),
        line=line,
        group=group,
        run_dirs=tuple(folders[run["run_id"]] for run in group.runs),
        baseline=line.baseline,
        baseline_label="" if line.row.baseline is None else suite.full_label(suite.row(line.row.baseline)),
    )
