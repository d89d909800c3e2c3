"""Suites: which rows a table has, in which order, and what each row runs.

A suite is data, in ``configs/<suite>/suite.toml``; the row NAME runs ``configs/<suite>/NAME.py``, or the config that it
names, with the changes that it states (``set``). A row that another suite has is named with ``suite = "OTHER"``: its runs
are that suite's, made once and shown in both. This module needs the standard library alone, so that ``--list`` and
argument errors take no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.suites.grid import expand
from sar_cls.suites.places import CONFIGS, SUITE_FILE, home_of
from sar_cls.suites.row_checks import NAME, check_baseline, check_label, check_name
from sar_cls.suites.shared_row import taken_over
from sar_cls.suites.toml_file import SuiteFile, read_suite_file, unknown


@dataclass(frozen=True)
class Source:
    """What a row runs: a config and what it sets in it.

    Attributes:
        config: the mmengine config.
        changes: nested as in the config: ``{"model": {"head": {"regularizer": {...}}}}``.
        place: file and line of the row, for messages about what it states.
        name: ``suite/row``, for messages about what was asked of it.
    """

    config: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    name: str = ""

    def __str__(self) -> str:
        return self.place if self.place and self.changes else str(self.config)

    @property
    def title(self) -> str:
        """``suite/row``, also of a config alone."""
        return self.name or f"{self.config.parent.name}/{self.config.stem}"


@dataclass(frozen=True)
class Row:
    """One row of a table: one config, run with several seeds.

    Attributes:
        suite: name of the suite the row belongs to, under which its runs are kept. Another suite may show it as well.
        name: short name for ``--only`` and for the run directories.
        label: how the table shows it.
        source: what it runs.
        method: for a second stage, the name by which ``stage2.py --method`` knows what it does.
        after_suite: name of the suite of that first-stage row; empty for the row's own.
        family: the name that a row of a grid has with its placeholders, ``"sar_tau_{tau}"``; empty for a single row.
        baseline: name of the row that this one is compared with by paired seeds, in the same suite.
        paper: the row's key in ``paper.csv``, where the paper has such a row.
        paper_task: the suite's: of which other task the paper's figure is; None where it is of ours.
        after: for a second stage, the name of the row whose runs it starts from.
        group: rows that belong together, for plots.
        also_in: further groups in whose plots the row is shown.
        optional: True for rows that run only when named by ``--only`` or with ``--all``.
    """

    suite: str
    name: str
    label: str
    source: Source
    baseline: str | None = None
    paper: str | None = None
    paper_task: str | None = None
    after: str | None = None
    group: str = ""
    also_in: tuple[str, ...] = ()
    optional: bool = False
    method: str = ""
    family: str = ""
    after_suite: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Suite and name, which no other row has."""
        return self.suite, self.name

    @property
    def first(self) -> tuple[str, str] | None:
        """The key of the first-stage row that a second stage starts from."""
        return None if self.after is None else (self.after_suite or self.suite, self.after)

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
        metric: the headline metric, a key of a record's metrics; "" for a suite that is measured.
        rows: the rows in the order of the table.
        paper_table: number of the paper's table, if there is one.
        paper_dataset: the data set's name in ``paper.csv``; ``{imbalance}`` stands for the imbalance factor of the run.
        paper_task: of which other task the paper's figures are, "segmentation, HRNet on Cityscapes, mIoU": they stand beside
            ours and are never compared with them. None where they are of ours.
        imbalance: the suite's own imbalance factor, for long-tailed suites.
        measure: "cost" where the rows are measured instead of trained; then there is no metric. Else "".
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
    paper_task: str | None = None
    imbalance: int | None = None
    measure: str = ""
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
    def origin(self) -> str:
        """The paper's table in brackets, for headings; empty where there is none."""
        if not self.paper_table:
            return ""
        return f" (paper Tab. {self.paper_table}{', of another task' if self.paper_task else ''})"

    @property
    def all_suites(self) -> tuple[Suite, ...]:
        """This suite and the included ones, in the order in which they are run and shown."""
        return (replace(self, included=()), *(s for child in self.included for s in child.all_suites))

    @property
    def two_stage(self) -> bool:
        return any(row.stage == 2 for row in self.rows)


def list_suites(configs_dir: Path | str) -> list[str]:
    """Names of the suites in a configs folder, sorted.

    Raises:
        InputError: there is none.
    """
    names = sorted(path.parent.name for path in Path(configs_dir).glob(f"*/{SUITE_FILE}"))
    if not names:
        raise InputError(f"no suites in {configs_dir}: it should hold <suite>/{SUITE_FILE}, a folder for each suite")
    return names


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
        only: names of rows, ``NAME`` or ``SUITE/NAME``, or patterns of names such as ``"sar_tau_*"``. A second-stage
            row brings the first-stage row along that it starts from. None or empty: every row that is not optional, in one
            of the suites that have it.
        all_rows: take the optional rows as well; has no meaning together with ``only``.

    Raises:
        InputError: no row of that name; near names are suggested.
    """
    # One that an included suite shows as well is run once, and is optional only where it is so in all of them.
    found: dict[tuple[str, str], Row] = {}
    for row in (row for part in suite.all_suites for row in part.rows):
        shown = found.get(row.key, row)
        found[row.key] = replace(row, optional=row.optional and shown.optional)
    rows = list(found.values())
    if not only:
        return [row for row in rows if all_rows or not row.optional]
    chosen: set[tuple[str, str]] = set()
    for wanted in only:
        hits = [row for row in rows if any(fnmatchcase(name, wanted) for name in (row.name, f"{row.suite}/{row.name}"))]
        if not hits:
            known = list(dict.fromkeys(row.name for row in rows))
            raise InputError(unknown("row", wanted, known, f" in suite {suite.name!r}"))
        for row in hits:
            chosen.add(row.key)
            if row.first is not None:
                chosen.add(row.first)
    return [row for row in rows if row.key in chosen]


def _load(configs_dir: Path, name: str, parents: tuple[str, ...]) -> Suite:
    path = configs_dir / name / SUITE_FILE
    if not NAME.fullmatch(name) or not path.is_file():
        raise InputError(unknown("suite", name, list_suites(configs_dir)))
    file = read_suite_file(path)
    known: dict[str, Suite] = {}  # a suite that many rows are taken from is read once

    def load(other: str) -> Suite:
        if other in known:
            return known[other]
        if other in (*parents, name):
            raise InputError(f"suite {other!r} is this one, or takes rows of it itself.")
        known[other] = _load(home_of(other, configs_dir), other, (*parents, name))
        return known[other]

    rows: list[Row] = []
    places: list[int] = []
    for index, entry in enumerate(file.rows):
        for single in expand(file, index, entry):
            check_name(file, index, single["name"], rows)
            shared = "suite" in single
            rows.append(taken_over(file, index, single, rows, load) if shared else _make_row(file, index, single, rows))
            places.append(index)
    baselines = {row.name: row.baseline for row in rows}
    for row, index in zip(rows, places, strict=True):
        check_baseline(file, index, row, baselines)
        check_label(file, index, row)
        for group in set(row.also_in) - {other.group for other in rows}:
            raise InputError(f"{file.where('also_in', index)}: also_in names {group!r}, but no row has that group.")
    included = []
    for child in file.head.get("include", []):
        if child in (*parents, name):
            raise InputError(f"{file.where('include')}: suite {child!r} includes itself; remove it there.")
        home = home_of(child, configs_dir)
        if not (home / child / SUITE_FILE).is_file():
            raise InputError(f"{file.where('include')}: {unknown('suite', child, list_suites(configs_dir))}")
        included.append(_load(home, child, (*parents, name)))
        if included[-1].measure:
            raise InputError(
                f"{file.where('include')}: the rows of suite {child!r} are measured, not trained; remove it."
            )
    return Suite(
        name=name,
        title=file.head["title"],
        path=path,
        metric=file.head.get("metric", ""),
        rows=tuple(rows),
        paper_table=file.head.get("paper_table"),
        paper_dataset=file.head.get("paper_dataset"),
        paper_task=file.head.get("paper_task"),
        imbalance=file.head.get("imbalance"),
        measure=file.head.get("measure", ""),
        extra_metrics=tuple(file.head.get("extra_metrics", ())),
        included=tuple(included),
    )


def _make_row(file: SuiteFile, index: int, entry: dict[str, Any], before: list[Row]) -> Row:
    name, folder = entry["name"], file.path.parent
    after = entry.get("after")
    first = next((row for row in before if row.stage == 1 and row.name == after), None)
    if after is not None and first is None:
        where = file.where("after", index)
        raise InputError(f"{where}: after = {after!r} must name a first-stage row that stands above in this suite.")
    config, changes = folder / entry.get("config", f"{name}.py"), entry.get("set", {})
    if not config.is_file() and (CONFIGS / entry.get("config", "")).is_file():
        config = CONFIGS / entry["config"]  # a suite kept elsewhere builds on one that comes along
    if "like" in entry:
        model = next((row for row in before if row.name == entry["like"]), None)
        if model is None or "config" in entry:
            where = file.where("like", index)
            reason = "must name a row that stands above in this suite" if model is None else "stands in place of config"
            raise InputError(f"{where}: like = {entry['like']!r} {reason}.")
        config, changes = model.source.config, _merged(model.source.changes, changes)
    return Row(
        suite=folder.name,
        name=name,
        label=entry["label"],
        source=Source(config, changes, file.where(None, index), f"{folder.name}/{name}"),
        baseline=entry.get("baseline"),
        paper=entry.get("paper"),
        paper_task=file.head.get("paper_task"),
        after=after,
        group=entry.get("group", ""),
        also_in=tuple(entry.get("also_in", ())),
        optional=entry.get("optional", False),
        method=entry.get("method", ""),
        family=file.rows[index]["name"] if "grid" in file.rows[index] else "",
        after_suite="" if first is None or first.suite == folder.name else first.suite,
    )


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both changes; where both set the same entry, tables are joined and the second one's value counts."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping) and not value.get("_delete_")
        result[key] = _merged(result[key], value) if both else value
    return result
