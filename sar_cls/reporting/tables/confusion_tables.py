"""Tables of confused classes: where the images of head and tail go, and the pairs most confused."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sar_cls.reporting.class_metric import class_metric
from sar_cls.reporting.confusion import ConfusionLine
from sar_cls.reporting.tables.cells import EMPTY, difference_cell, mean_cell
from sar_cls.reporting.tables.geometry_tables import CLASSES
from sar_cls.reporting.tables.suite_tables import Table
from sar_cls.suites.rows import Suite

_FLOW_NOTE = (
    "In percent of the test {unit}s of the classes: those that are classified right, and those taken for a wrong class of each "
    "group; Δ: mean difference to the baseline over paired seeds with its 95 % interval, n.s.: it holds 0."
)
_PAIR_NOTE = (
    "In percent of a class's test {unit}s, mean over the seeds; in brackets the training {unit}s of the class, and the baseline's "
    "figure behind the slash, then both over the seeds that both have."
)


def confusion_tables(results: Sequence[tuple[Suite, Sequence[ConfusionLine]]]) -> list[Table]:
    """The tables of some suites; none for a suite without predictions."""
    tables = []
    for suite, lines in results:
        for imbalance in dict.fromkeys(line.group.recipe.imbalance for line in lines):
            own = [line for line in lines if line.group.recipe.imbalance == imbalance]
            title = suite.title + (f", imbalance factor {imbalance:g}" if imbalance is not None else "")
            if any(len(line.flows) > 1 for line in own):
                tables.append(_flows(suite, f"{title}: head against tail", own))
            if any(line.pairs for line in own):
                tables.append(_pairs(suite, f"{title}: classes most confused", own))
    return tables


def _flows(suite: Suite, title: str, lines: Sequence[ConfusionLine]) -> Table:
    wheres = list(dict.fromkeys(where for line in lines for flow in line.flows.values() for where in flow))
    headings = {where: "right" if where == "right" else f"to {_group(where.removeprefix('to_'))}" for where in wheres}
    compared = any(item[1] is not None for line in lines for flow in line.flows.values() for item in flow.values())
    rows = []
    for line in lines:
        for name, flow in line.flows.items():
            cells = [_label(suite, line), _group(name), str(line.runs)]
            for where in wheres:
                summary, difference = flow.get(where, (None, None))
                cells += [mean_cell(summary), *([difference_cell(difference)] if compared else [])]
            rows.append(cells)
    columns = ["method", "classes", "n"]
    for where in wheres:
        columns += [headings[where], *([f"Δ {headings[where]}"] if compared else [])]
    return Table(title, pd.DataFrame(rows, columns=columns), (_FLOW_NOTE.format(unit=class_metric(suite).unit),))


def _group(name: str) -> str:
    return CLASSES.get(name, name)


def _pairs(suite: Suite, title: str, lines: Sequence[ConfusionLine]) -> Table:
    rows = []
    for line in lines:
        for pair in line.pairs:
            rows.append(
                [
                    _label(suite, line),
                    f"{pair.first} ({pair.counts[0]})",
                    f"{pair.second} ({pair.counts[1]})",
                    _beside(pair.lost, pair.lost_before),
                    _beside(pair.returned, pair.returned_before),
                ]
            )
    columns = ["method", "class", "taken for", "%", "the other way %"]
    return Table(title, pd.DataFrame(rows, columns=columns), (_PAIR_NOTE.format(unit=class_metric(suite).unit),))


def _beside(value: float, before: float | None) -> str:
    return f"{value:.1f}" + (f" / {before:.1f}" if before is not None else f" / {EMPTY}")


def _label(suite: Suite, line: ConfusionLine) -> str:
    details = ", ".join((*line.deviations, *line.others))
    return suite.full_label(line.group.row) + (f" ({details})" if details else "")
