"""The rows of runs that were asked for by method: ``longtail/stage1.py`` and ``stage2.py`` know more than a suite has rows for.

A method without a row in a data set's suite is run by the config that the general suite has for it, and an image folder has no
suite at all. Such runs are shown in rows made here, which never stand beside the paper's figures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sar_cls.suites.rows import SUITE_FILE, Row, Suite, load_suite

# The suite whose configs serve every data set that has no suite, or no such method, of its own.
GENERAL = "cifar100_lt"
FOLDERS = "folder_lt"


def folder_suite(configs: Path) -> Suite | None:
    """The suite of the runs on image folders: the methods of the general one; None where the configs have no such."""
    if not (configs / GENERAL / SUITE_FILE).is_file():
        return None
    general = load_suite(configs, GENERAL)
    unpublished = replace(general, paper_table=None, paper_dataset=None, paper_task=None, imbalance=None)
    bare = replace(unpublished, name=FOLDERS, title="Image folders")
    return with_methods(replace(bare, rows=(), included=()), configs)


def with_methods(suite: Suite, configs: Path) -> Suite:
    """A suite with a row, only on request, for every method of the general one that it has none for.

    A second stage of that kind is named as ``stage2.py`` names its runs: the row it starts from, then the method.
    """
    if not (configs / GENERAL / SUITE_FILE).is_file():
        return suite
    general = load_suite(configs, GENERAL)
    firsts = {row.name: row for row in suite.rows if row.stage == 1}
    added: list[Row] = []
    for row in general.rows:
        if row.stage == 1 and row.name not in firsts:
            firsts[row.name] = replace(row, suite=suite.name, paper=None, group="", also_in=())
            added.append(firsts[row.name])
    methods = {row.method: row for row in reversed(general.rows) if row.stage == 2 and row.method}
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
