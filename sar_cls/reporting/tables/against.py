"""The same runs made twice: recipe, images and seed are equal; machine, device, precision and versions may be others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tabulate import tabulate

from sar_cls.reporting.groups import Group, Recipe, group_runs
from sar_cls.reporting.stats import paired_difference, summarize
from sar_cls.reporting.tables.cells import difference_cell, mean_cell, provenance
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Twice:
    """Runs of one row that were made here and there, paired by seed.

    Attributes:
        suite: of the row.
        here: the runs that are looked at, as one group.
        there: those that they are compared with.
        seeds: that both have, ascending; a run and its own copy are no pair.
    """

    suite: Suite
    here: Group
    there: Group
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Suite and row, how both differ from the row's recipe, and the precisions where they are not the same."""
        precisions = [group.recipe.precision for group in (self.here, self.there)]
        others = [] if precisions[0] == precisions[1] else [f"{precisions[0]} here, {precisions[1]} there"]
        return ", ".join(
            (f"{self.here.row.suite}/{self.here.row.name}", *self.here.recipe.deviations(self.here.row), *others)
        )

    def values(self, group: Group) -> dict[int, float | None]:
        """Seed -> headline metric of the last epoch, over the seeds that both have."""
        values = group.values("last", self.suite.metric)
        return {seed: values[seed] for seed in self.seeds}

    def runs(self, group: Group) -> list[Mapping[str, Any]]:
        return [run for run in group.runs if run["seed"] in self.seeds]


def made_twice(suite: Suite, here: Records, there: Records, warn: Warn) -> list[Twice]:
    """The rows of a suite that both sides have by one recipe, on the same images, with a seed in common."""
    theirs = group_runs(suite, there, warn)
    found = []
    for row, groups in group_runs(suite, here, warn).items():
        for ours in groups:
            for other in theirs.get(row, []):
                if _without_machine(ours.recipe) != _without_machine(other.recipe):
                    continue
                copies = ours.run_ids & other.run_ids
                own = {run["seed"] for run in ours.runs if run["run_id"] not in copies}
                seeds = own & {run["seed"] for run in other.runs if run["run_id"] not in copies}
                if seeds:
                    found.append(Twice(suite, ours, other, tuple(sorted(seeds))))
    return found


def against_table(suites: Iterable[Suite], here: Records, there: Records, warn: Warn) -> str:
    """A line a row: the headline metric of both sides over the seeds that both have, their paired difference, and its largest.

    Below it stand code, torch and devices of both sides, how many runs are the same on both sides (a folder of ``--keep`` holds
    copies), and how many have no counterpart. Sentences alone where no row was run on both.
    """
    here, there = list(here), list(there)
    found: dict[tuple[str, frozenset[str], frozenset[str]], Twice] = {}
    for suite in suites:
        for pair in made_twice(suite, here, there, warn):  # a row that suites share is shown once
            found.setdefault((pair.here.row.name, pair.here.run_ids, pair.there.run_ids), pair)
    pairs = list(found.values())
    shown = {row.key for suite in suites for row in suite.rows}
    ours = [run for run in here if (run["suite"], run["row"]) in shown]
    copied = {run["run_id"] for run in ours} & {run["run_id"] for run in there}
    compared = {run["run_id"] for pair in pairs for run in pair.runs(pair.here)}
    alone = sum(run["run_id"] not in compared | copied for run in ours)
    remarks = []
    if copied:
        same = "1 run is one and the same" if len(copied) == 1 else f"{len(copied)} runs are one and the same"
        remarks.append(f"{same} on both sides: a copy says nothing about how a run comes out a second time.")
    if alone and (pairs or copied):
        remarks.append(
            f"{_counted(alone)} here without a counterpart: none there has the same recipe, images and seed."
        )
    if not pairs:
        nothing = "No run of one side was made on the other: none has the same recipe, images and seed."
        return " ".join(remarks) or nothing
    lines = []
    for pair in pairs:
        values, others = pair.values(pair.here), pair.values(pair.there)
        differences = [
            a - b for seed in pair.seeds if (a := values[seed]) is not None and (b := others[seed]) is not None
        ]
        lines.append(
            [
                pair.name,
                mean_cell(summarize(values.values())),
                mean_cell(summarize(others.values())),
                difference_cell(paired_difference(values, others)),
                f"{max(differences, key=abs):+.2f}" if differences else "–",
            ]
        )
    headings = ["row", "here", "there", "here - there [95 %]", "largest of a seed"]
    notes = []
    for side in ("here", "there"):
        runs = {run["run_id"]: run for pair in pairs for run in pair.runs(getattr(pair, side))}
        notes.append(f"{side}, {provenance(list(runs.values()))}")
    text = tabulate(lines, headings, tablefmt="github", disable_numparse=True)
    return "\n".join([text, "", *(f"- {note}" for note in (*notes, *remarks))])


def _without_machine(recipe: Recipe) -> Recipe:
    """What both sides must share; a first stage of which only the second was kept is none that differs."""
    return replace(recipe.without_precision, orphan=False)


def _counted(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
