"""The paper's rarest classes (Tab. 11 to 13, IoU), alone or with our runs on the same data set beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sar_cls.reporting.class_metric import is_dense
from sar_cls.reporting.comparison import Line
from sar_cls.reporting.paper import figures
from sar_cls.reporting.stats import summarize
from sar_cls.reporting.tables.cells import EMPTY, mean_cell
from sar_cls.reporting.tables.suite_tables import Table
from sar_cls.suites.rows import Suite

TABLES = ("11", "12", "13")
METHODS = ("CAR", "SAR")
# The paper's short forms of Cityscapes' names.
NAMES = {"tr.light": "traffic light", "m.bike": "motorcycle"}
# Run id -> IoU of each class in percent by its name in small letters; empty where it is not known.
IouOf = Callable[[str], dict[str, float]]


@dataclass(frozen=True)
class Published:
    """A line of the paper's tables.

    Attributes:
        table: its number.
        dataset: the data set.
        name: of the class.
        seed: of the runs; None where the paper gives none.
        values: IoU in percent by net or method.
    """

    table: str
    dataset: str
    name: str
    seed: int | None
    values: dict[str, float]

    @property
    def title(self) -> str:
        return self.name + ("" if self.seed is None else f", seed {self.seed}")

    @property
    def net(self) -> str:
        """The net that stands alone."""
        return next(method for method in self.values if method not in METHODS)

    def cell(self, method: str) -> str:
        """The figure, with its difference to the net alone."""
        if method not in self.values:
            return EMPTY
        gain = "" if method == self.net else f" ({self.values[method] - self.values[self.net]:+.2f})"
        return f"{self.values[method]:.2f}{gain}"


def published() -> list[Published]:
    """The lines of the three tables in their order."""
    found: dict[tuple[str, str, str], Published] = {}
    for figure in figures():
        if figure.source == "SAR" and figure.table in TABLES:
            what, _, method = figure.row.rpartition(" | ")
            seed = int(what.removeprefix("seed ")) if what.startswith("seed ") else None
            name = figure.note.removeprefix("class ") or what
            line = Published(figure.table, figure.dataset, name, seed, {})
            found.setdefault((line.table, line.dataset, line.title), line).values[method] = figure.value
    return list(found.values())


def has_rare_classes(suite: Suite) -> bool:
    """Whether the paper has figures of rare classes for a suite's task and data set."""
    return is_dense(suite) and suite.published_dataset(None) in {line.dataset for line in published()}


def published_table(another_task: bool) -> Table:
    """All of them, for suites to which they do not belong.

    Args:
        another_task: whether those suites are of classification; else they are of other data sets.
    """
    import pandas as pd

    rows = [
        [line.table, line.dataset, line.title, f"{line.net}: {line.cell(line.net)}", *map(line.cell, METHODS)]
        for line in published()
    ]
    columns = ["Tab.", "data set", "class", "net alone", *METHODS]
    others = "another task, which says" if another_task else "other data sets, which say"
    note = f"Intersection over union in percent, of single runs: {others} nothing about the figures above."
    return Table("The paper's rarest classes (segmentation, IoU)", pd.DataFrame(rows, columns=columns), (note,))


def beside_ours(suite: Suite, lines: Sequence[Line], iou_of: IouOf) -> Table:
    """Those of a suite's data set, ours beside each; its cell is empty where nothing was run.

    Args:
        suite: one that :func:`has_rare_classes`.
        lines: its lines; those by another recipe than their row's are no reproductions and stay out.
        iou_of: of a run.
    """
    import pandas as pd

    rows = []
    for line in published():
        if line.dataset == suite.published_dataset(None):
            cells = [line.table, line.title, line.net]
            for method in (line.net, *METHODS):
                cells += [line.cell(method), _ours(suite, lines, line, method, iou_of)]
            rows.append(cells)
    heads = [f"{who}, {whose}" for who in ("net alone", *METHODS) for whose in ("paper", "ours")]
    note = (
        "Intersection over union in percent after the last iteration. Paper: of single runs, in brackets the difference to the net "
        "alone. Ours: mean ± std over seeds, by the row's own recipe; where the paper names a seed, of that alone."
    )
    table = pd.DataFrame(rows, columns=["Tab.", "class", "net", *heads])
    return Table(f"{suite.title}: the paper's rarest classes", table, (note,))


def _ours(suite: Suite, lines: Sequence[Line], published: Published, method: str, iou_of: IouOf) -> str:
    """Our figure of a class; rows are found by what they are called, which for a net alone is its name in the paper."""
    if method not in published.values:
        return EMPTY
    rows = {
        row.name
        for row in suite.rows
        if (row.paper == published.net if method == published.net else row.label == f"{published.net}+{method}")
    }
    name = NAMES.get(published.name.lower(), published.name.lower())
    runs = [
        run
        for line in lines
        if line.row.name in rows and line.group is not None and not line.deviations
        for run in line.group.runs
        if published.seed in (None, run["seed"])
    ]
    values = [iou_of(run["run_id"]).get(name, np.nan) for run in runs]
    summary = summarize([value for value in values if np.isfinite(value)])
    return f"{mean_cell(summary)} (n = {summary.n})" if summary.n else EMPTY
