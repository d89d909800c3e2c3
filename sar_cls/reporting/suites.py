"""Suites: which rows a table has, in which order, and which config each row runs.

A suite is data, in ``configs/<suite>/suite.toml``; the row NAME is run from ``configs/<suite>/NAME.py``. This module
needs the standard library alone, so that ``--list`` and argument errors take no time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.reporting.suite_file import SuiteFile, read_suite_file, unknown

SUITE_FILE = "suite.toml"
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Row:
    """One row of a table: one config, run with several seeds.

    Attributes:
        suite: name of the suite the row belongs to.
        name: short name for ``--only`` and for the run directories.
        label: how the table shows it.
        config: the row's mmengine config.
        baseline: name of the row that this one is compared with by paired seeds, in the same suite.
        paper: the row's key in ``paper.csv``, where the paper has such a row.
        after: for a second stage, the name of the row whose runs it starts from.
        group: rows that belong together, for plots.
        optional: True for rows that run only when named by ``--only`` or with ``--all``.
    """

    suite: str
    name: str
    label: str
    config: Path
    baseline: str | None = None
    paper: str | None = None
    after: str | None = None
    group: str = ""
    optional: bool = False

    @property
    def stage(self) -> int:
        """1, or 2 for a row that starts from the runs of another."""
        return 1 if self.after is None else 2


@dataclass(frozen=True)
class Suite:
    """One table of the benchmark, with the suites that are run and shown along with it.

    Attributes:
        name: name of the folder in the configs folder.
        title: heading of the table.
        path: the ``suite.toml`` it was read from.
        metric: the headline metric, a key of a record's metrics.
        rows: the rows in the order of the table.
        paper_table: number of the paper's table, if there is one.
        paper_dataset: the data set's name in ``paper.csv``; ``{imbalance}`` stands for the imbalance factor of the run.
        imbalance: the suite's own imbalance factor, for long-tailed suites.
        extra_metrics: further metrics for the second table (shot groups, calibration).
        included: the suites that are run and shown after this one.
    """

    name: str
    title: str
    path: Path
    metric: str
    rows: tuple[Row, ...]
    paper_table: str | None = None
    paper_dataset: str | None = None
    imbalance: int | None = None
    extra_metrics: tuple[str, ...] = ()
    included: tuple[Suite, ...] = ()

    def row(self, name: str) -> Row:
        """The row of this name; `InputError` with near names where there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise InputError(unknown("row", name, [row.name for row in self.rows], f" in suite {self.name!r}"))

    def full_label(self, row: Row) -> str:
        """A row's label on its own: that of a second stage with its first stage's in front, where it does not say it itself."""
        before = f"{self.row(row.after).label}, " if row.after is not None else ""
        return row.label if row.label.startswith(before) else before + row.label

    def published_dataset(self, imbalance: float | None) -> str | None:
        """The data set's name in ``paper.csv`` at this imbalance factor; None where the suite has none there."""
        if self.paper_dataset is None:
            return None
        return self.paper_dataset.format(imbalance=f"{imbalance:g}" if imbalance is not None else "")

    @property
    def all_suites(self) -> tuple[Suite, ...]:
        """This suite and the included ones, in the order in which they are run and shown."""
        return (replace(self, included=()), *(s for child in self.included for s in child.all_suites))

    @property
    def two_stage(self) -> bool:
        return any(row.stage == 2 for row in self.rows)


def list_suites(configs_dir: Path | str) -> list[str]:
    """Names of the suites in a configs folder, sorted."""
    return sorted(path.parent.name for path in Path(configs_dir).glob(f"*/{SUITE_FILE}"))


def load_suite(configs_dir: Path | str, name: str) -> Suite:
    """Reads and checks ``<configs_dir>/<name>/suite.toml`` and the suites it includes.

    Raises:
        InputError: no suite of this name (near names are suggested), or a file that does not parse or holds unknown,
            missing or wrong entries (the file and the line are named).
    """
    return _load(Path(configs_dir), name, ())


def select_rows(suite: Suite, only: Sequence[str] | None = None, *, all_rows: bool = False) -> list[Row]:
    """The rows to run, in the order of the table, those of included suites after the suite's own.

    Args:
        suite: the suite.
        only: names of rows, ``NAME`` or ``SUITE/NAME``. A second-stage row brings the first-stage row along that it
            starts from. None or empty: every row that is not optional.
        all_rows: take the optional rows as well; has no meaning together with ``only``.

    Raises:
        InputError: no row of that name; near names are suggested.
    """
    rows = [row for part in suite.all_suites for row in part.rows]
    if not only:
        return [row for row in rows if all_rows or not row.optional]
    chosen: set[tuple[str, str]] = set()
    for wanted in only:
        hits = [row for row in rows if wanted in (row.name, f"{row.suite}/{row.name}")]
        if not hits:
            known = list(dict.fromkeys(row.name for row in rows))
            raise InputError(unknown("row", wanted, known, f" in suite {suite.name!r}"))
        for row in hits:
            chosen.add((row.suite, row.name))
            if row.after is not None:
                chosen.add((row.suite, row.after))
    return [row for row in rows if (row.suite, row.name) in chosen]


def describe(suite: Suite) -> str:
    """The suite and its rows as plain text, for ``--list``."""
    lines: list[str] = []
    for part in suite.all_suites:
        origin = f" (paper Tab. {part.paper_table})" if part.paper_table else ""
        lines.append(f"{part.name}: {part.title}{origin}")
        width = max(len(row.name) for row in part.rows)
        for row in part.rows:
            remarks = [f"after {row.after}"] if row.after else []
            remarks += ["only with --only or --all"] if row.optional else []
            lines.append(f"  {row.name:<{width}}  {row.label}" + (f" ({', '.join(remarks)})" if remarks else ""))
    return "\n".join(lines)


def _load(configs_dir: Path, name: str, parents: tuple[str, ...]) -> Suite:
    path = configs_dir / name / SUITE_FILE
    if not _NAME.fullmatch(name) or not path.is_file():
        known = list_suites(configs_dir)
        if not known:
            raise InputError(f"no suites in {configs_dir}: it should hold <suite>/{SUITE_FILE}.")
        raise InputError(unknown("suite", name, known))
    file = read_suite_file(path)
    rows: list[Row] = []
    for index, entry in enumerate(file.rows):
        rows.append(_make_row(file, index, entry, rows))
    for index, row in enumerate(rows):
        if row.baseline is not None and row.baseline not in {other.name for other in rows} - {row.name}:
            where = file.where("baseline", index)
            raise InputError(f"{where}: the baseline {row.baseline!r} must be another row of this suite.")
    included = []
    for child in file.head.get("include", []):
        if child in (*parents, name):
            raise InputError(f"{file.where('include')}: suite {child!r} includes itself; remove it there.")
        included.append(_load(configs_dir, child, (*parents, name)))
    return Suite(
        name=name,
        title=file.head["title"],
        path=path,
        metric=file.head["metric"],
        rows=tuple(rows),
        paper_table=file.head.get("paper_table"),
        paper_dataset=file.head.get("paper_dataset"),
        imbalance=file.head.get("imbalance"),
        extra_metrics=tuple(file.head.get("extra_metrics", ())),
        included=tuple(included),
    )


def _make_row(file: SuiteFile, index: int, entry: dict[str, Any], before: list[Row]) -> Row:
    name, folder = entry["name"], file.path.parent
    where = file.where("name", index)
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: the row name {name!r} may hold only small letters, digits and underscores.")
    if name in {row.name for row in before}:
        raise InputError(f"{where}: the row name {name!r} stands twice in this suite; rename one.")
    after = entry.get("after")
    if after is not None and after not in {row.name for row in before if row.stage == 1}:
        where = file.where("after", index)
        raise InputError(f"{where}: after = {after!r} must name a first-stage row that stands above in this suite.")
    return Row(
        suite=folder.name,
        name=name,
        label=entry["label"],
        config=folder / entry.get("config", f"{name}.py"),
        baseline=entry.get("baseline"),
        paper=entry.get("paper"),
        after=after,
        group=entry.get("group", ""),
        optional=entry.get("optional", False),
    )
