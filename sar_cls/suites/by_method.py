"""The rows of runs that were asked for by method: ``longtail/stage1.py`` and ``stage2.py`` know more than a suite has rows for.

A method without a row in a data set's suite is run by the config that the general suite has for it, and an image folder has no
suite at all. Such runs are shown in rows made here, which never stand beside the paper's figures. Suites of one's own need not hold
the general one: it comes along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sar_cls.suites.places import SUITE_FILE, home_of
from sar_cls.suites.rows import Row, Suite, load_suite

# The suite whose configs serve every data set that has no suite, or no such method, of its own; looked for where `home_of` says.
GENERAL = "cifar100_lt"
FOLDERS = "folder_lt"


def folder_suite(configs: Path) -> Suite | None:
    """The suite of the runs on image folders: the methods of the general one; None where there is no such."""
    general = _general(configs)
    if general is None:
        return None
    unpublished = replace(general, paper_table=None, paper_dataset=None, paper_task=None, imbalance=None)
    bare = replace(unpublished, name=FOLDERS, title="Image folders")
    return with_methods(replace(bare, rows=(), included=()), configs)


def with_methods(suite: Suite, configs: Path) -> Suite:
    """A suite with a row, only on request, for every method of the general one, or second stage of its own, that it has none for.

    A second stage of that kind is named as ``stage2.py`` names its runs: the row it starts from, then the method.
    """
    general = _general(configs)
    if general is None:
        return suite
    firsts = {row.name: row for row in suite.rows if row.stage == 1}
    added: list[Row] = []
    for row in general.rows:
        if row.stage == 1 and row.name not in firsts:
            firsts[row.name] = replace(row, suite=suite.name, paper=None, group="", also_in=())
            added.append(firsts[row.name])
    methods = {row.method: _alone(row, suite) for row in reversed(suite.rows) if row.stage == 2 and row.method}
    methods |= {row.method: row for row in reversed(general.rows) if row.stage == 2 and row.method}
    taken = {(row.after, row.method): row.name for row in suite.rows}
    names = {row.name for row in suite.rows} | set(firsts)
    for method, model in methods.items():
        for first in firsts.values():
            name = f"{first.name}_{method}"
            if (first.name, method) in taken or name in names:
                continue
            before = (
                None if first.baseline is None else taken.get((first.baseline, method), f"{first.baseline}_{method}")
            )
            added.append(
                replace(
                    model,
                    suite=suite.name,
                    name=name,
                    after=first.name,
                    baseline=before,
                    paper=None,
                    group="",
                    also_in=(),
                )
            )
    rows = (*suite.rows, *added)
    known = {row.name for row in rows}
    return replace(suite, rows=tuple(row if row.baseline in known else replace(row, baseline=None) for row in rows))


def completed(suite: Suite, configs: Path, records: Iterable[Mapping[str, Any]]) -> Suite:
    """The suite as it is, or with rows for the methods that stage1.py and stage2.py were asked for beyond its own."""
    ran = {record["row"] for record in records if record["suite"] == suite.name}
    return with_methods(suite, configs) if ran - {row.name for row in suite.rows} else suite


def _general(configs: Path) -> Suite | None:
    home = home_of(GENERAL, configs)
    return load_suite(home, GENERAL) if (home / GENERAL / SUITE_FILE).is_file() else None


def _alone(row: Row, suite: Suite) -> Row:
    """A second stage of a suite without what it says of its own first stage."""
    first = "" if row.after is None else f"{suite.row(row.after).label}, "
    return replace(row, label=row.label.removeprefix(first), family="", after_suite="", optional=True)
