"""The tables of the report: cells that are sorted by their number and open to what stands behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sar_cls.reporting.comparison import Line
from sar_cls.reporting.html.views import Entry, View
from sar_cls.reporting.paper import Figure
from sar_cls.reporting.stats import PairedDifference, Summary
from sar_cls.reporting.tables.cells import EMPTY, adjusted_cell, general_notes, mean_cell
from sar_cls.reporting.tables.suite_tables import METRIC_LABELS, Table


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what it shows.
        sort: by what it is sorted; None stands last.
        opens: what a click opens: "value" or "difference" (of the entry's runs), "paper" (``source``), "" nothing.
        entry: key of the entry.
        epoch: "last" or "best".
        metric: key of a record's metrics.
        source: where a published figure stands.
        remarks: for the first cell of a row, how the recipe differs from the row's own.
        others: for the first cell, what tells it from other lines.
        header: whether it is the first cell of its row.
    """

    text: str
    sort: float | str | None = None
    opens: str = ""
    entry: str = ""
    epoch: str = ""
    metric: str = ""
    source: str = ""
    remarks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    header: bool = False


@dataclass(frozen=True)
class Column:
    """A heading, and what the column means where the heading does not say it."""

    name: str
    hint: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table of the page."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default_factory=tuple)


def view_tables(view: View) -> list[HtmlTable]:
    """The results of a view, and its further metrics where the suite has any."""
    tables = [_results(view)]
    if view.suite.extra_metrics and view.entries:
        tables.append(_further(view))
    return tables


def plain_table(table: Table) -> HtmlTable:
    """A table of texts, sorted by the number that a cell begins with; the first column names the rows."""
    rows = []
    for cells in table.frame.itertuples(index=False):
        first, *others = map(str, cells)
        rows.append((Cell(first, first.lower(), header=True), *(Cell(text, _leading(text)) for text in others)))
    columns = tuple(Column(str(name)) for name in table.frame.columns)
    return HtmlTable(table.title, columns, tuple(rows), table.notes)


def _leading(text: str) -> float | str:
    """What a cell is sorted by: the number that it begins with, else its text; nothing for one that is empty but for a footnote."""
    number = re.match(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", text.replace("−", "-"))
    return float(number.group()) if number else "" if text.startswith(EMPTY) else text.lower()


def _results(view: View) -> HtmlTable:
    suite, metric = view.suite, view.suite.metric
    lines = [line for line, _ in view.lines]
    name = METRIC_LABELS.get(metric, metric)
    published = any(line.paper is not None for line in lines)
    task = next((line.row.paper_task for line in lines if line.paper is not None), None)
    distance = published and task is None
    columns = [Column("Method")]
    columns += [Column("Stage")] if suite.two_stage else []
    columns += [Column(f"Paper ({task})" if task else "Paper", "the published figure")] if published else []
    columns += [
        Column(f"{name}, last epoch", "mean ± standard deviation over the seeds, in percent; the headline"),
        Column("Seeds", "number of runs"),
        Column(f"{name}, best epoch", "the same at the epoch that was best, which is chosen after the fact"),
    ]
    columns += [Column("Δ paper", "last epoch minus the paper's figure")] if distance else []
    adjusted = any(line.adjusted is not None for line in lines)
    columns += [
        Column("Δ baseline [95 %]", "mean of the differences over paired seeds with its interval (paired t-test)")
    ]
    columns += (
        [Column("Holm p [simultaneous 95 %]", "adjusted for all rows that are compared with the same runs")]
        if adjusted
        else []
    )
    rows = []
    for line, entry in view.lines:
        key = "" if entry is None else entry.key
        cells = [_label(view, line)]
        cells += [Cell(str(line.row.stage), line.row.stage)] if suite.two_stage else []
        cells += [_paper(line.paper)] if published else []
        cells += [
            _mean(line.last, key, "last", metric),
            Cell(str(line.last.n), line.last.n) if entry is not None else Cell("not run", ""),
            _mean(line.best, key, "best", metric),
        ]
        if distance:
            cells.append(
                Cell(EMPTY) if line.to_paper is None
                else Cell(f"{line.to_paper:+.2f}", line.to_paper, "value", key, "last", metric)
            )  # fmt: skip
        cells.append(_difference(line.to_baseline, entry, metric))
        if adjusted:
            cells.append(Cell(adjusted_cell(line.adjusted), None if line.adjusted is None else line.adjusted.p))
        rows.append(tuple(cells))
    notes = [*general_notes(lines, suite.paper_table)]
    if any(line.deviations for line in lines):
        notes.insert(0, "Lines marked as another recipe are no reproduction and are not set against the paper.")
    return HtmlTable("Results", tuple(columns), tuple(rows), tuple(notes))


def _further(view: View) -> HtmlTable:
    metrics = view.suite.extra_metrics
    lines = [line for line, _ in view.lines]
    published = [metric for metric in metrics if any(metric in line.extra_paper for line in lines)]
    of_best = {metric for line in lines for metric, figure in line.extra_paper.items() if "best epoch" in figure.note}
    columns = [Column("Method")]
    for metric in metrics:
        label = METRIC_LABELS.get(metric, metric)
        columns.append(Column(f"{label}, last epoch"))
        columns += [Column(f"{label}, best epoch")] if metric in of_best else []
        columns += (
            [Column(f"{label}, published" + (" (best epoch)" if metric in of_best else ""))]
            if metric in published
            else []
        )
    rows = []
    for line, entry in view.lines:
        if entry is None and not line.extra_paper:
            continue
        key = "" if entry is None else entry.key
        cells = [_label(view, line)]
        for metric in metrics:
            cells.append(_mean(line.extra.get(metric), key, "last", metric))
            cells += [_mean(line.extra_best.get(metric), key, "best", metric)] if metric in of_best else []
            cells += [_paper(line.extra_paper.get(metric))] if metric in published else []
        rows.append(tuple(cells))
    notes = []
    if {"many_shot", "medium_shot", "few_shot"} & set(metrics):
        notes.append("many, medium, few: mean accuracy of the classes with more than 100, with 20 to 100, and with fewer than 20 "
                     "training images; empty where there is no such class.")  # fmt: skip
    notes += ["ECE: expected calibration error, 15 bins; lower is better."] if "ece" in metrics else []
    return HtmlTable("Shot groups, calibration and further metrics", tuple(columns), tuple(rows), tuple(notes))


def _label(view: View, line: Line) -> Cell:
    label = view.suite.full_label(line.row)
    return Cell(label, label.lower(), remarks=line.deviations, others=line.others, header=True)


def _mean(summary: Summary | None, entry: str, epoch: str, metric: str) -> Cell:
    if summary is None or summary.mean is None:
        return Cell(EMPTY)
    return Cell(mean_cell(summary), summary.mean, "value" if entry else "", entry, epoch, metric)


def _paper(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(EMPTY)
    table = f"Tab. {figure.table}" if figure.table.isdigit() else figure.table
    text = f"{figure.value:.2f}" + ("" if figure.value_max is None else f" to {figure.value_max:.2f}")
    stage = f", stage {figure.stage}" if figure.stage is not None else ""
    note = f" {figure.note}." if figure.note else ""
    source = f"{text} {figure.unit}: {figure.source}, {table}, {figure.dataset}, row “{figure.row}”{stage}.{note}"
    return Cell(text, figure.value, "paper", source=source)


def _difference(difference: PairedDifference | None, entry: Entry | None, metric: str) -> Cell:
    if difference is None or difference.mean is None or entry is None:
        return Cell(EMPTY)
    if difference.low is None or difference.high is None:
        text = f"{difference.mean:+.2f} (1 pair)"
    else:
        doubt = "" if difference.significant else " n.s."
        text = f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]{doubt}"
    return Cell(text, difference.mean, "difference", entry.key, "last", metric)
