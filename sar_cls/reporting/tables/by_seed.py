"""Seed by seed: a row of a suite beside its baseline, one line a seed (the SAR paper's Tab. 14 and 15, for classification).

The same runs as in the suite's own table, none is made twice. The paper's figures stand beside suites that have a table in it;
beside a classifier they are of another task, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sar_cls.reporting.class_metric import is_dense
from sar_cls.reporting.comparison import LINE_COLUMNS, Line, compare, families, line_columns
from sar_cls.reporting.paper import figures
from sar_cls.reporting.stats import Summary, summarize
from sar_cls.reporting.tables.cells import EMPTY, Notes, label_cell, mean_cell
from sar_cls.reporting.tables.suite_tables import SuiteTables, Table, variant_title
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

# The paper's tables of seeds, with the net whose figure stands before SAR's.
_PAPER = {"14": "HRNet", "15": "DeepLabV3"}
_ANOTHER_TASK = "The paper's figures are of another task: they say nothing about ours, and no difference is given."
_PUBLISHED = (
    "The paper's figures are of the net alone and with SAR; means and deviations of its three seeds are computed here."
)
_Values = Mapping[int, float | None]


def seed_tables(suites: Iterable[Suite], records: Sequence[Mapping[str, Any]], warn: Warn) -> SuiteTables:
    """A table for each baseline with the rows that are compared with it, one line a seed, mean and deviation below.

    Suites without a row that was run beside its baseline have none.
    """
    import pandas as pd

    tables: list[Table] = []
    entries: list[dict[str, Any]] = []
    for suite in suites:
        lines = compare(suite, records, warn)
        for family in families(lines):
            baseline = next(line for line in lines if line.group is family[0].baseline)
            tables.append(_table(suite, baseline, family))
            entries += _entries(suite, baseline, family)
    columns = [*LINE_COLUMNS, "metric", "seed", "last", "baseline", "to_baseline"]
    return SuiteTables(tuple(tables), pd.DataFrame(entries, columns=columns))


def _values(suite: Suite, line: Line) -> dict[int, float | None]:
    return line.group.values("last", suite.metric) if line.group is not None else {}


def _table(suite: Suite, baseline: Line, family: Sequence[Line]) -> Table:
    import pandas as pd

    notes = Notes()
    reference = _values(suite, baseline)
    columns: dict[str, tuple[_Values, _Values]] = {}
    for line in (baseline, *family):
        label = label_cell(line, notes, suite.full_label(line.row))
        label += f" ({line.row.name})" if label in columns else ""
        columns[label] = (_values(suite, line), {} if line is baseline else reference)
    present = {seed for ours, _ in columns.values() for seed in ours}
    # A suite without a table in the paper has nothing to do with its seeds.
    published = [_published(number, net) for number, net in _PAPER.items()] if suite.paper_table else []
    theirs = dict.fromkeys(seed for _, plain, _ in published for seed in plain)
    seeds = [*theirs, *sorted(present - set(theirs))]
    data = {"seed": [*map(str, seeds), "mean ± std"]}
    data |= {label: _column(ours, base, seeds) for label, (ours, base) in columns.items()}
    for heading, plain, sar in published:
        left, right = _column(plain, {}, seeds), _column(sar, plain, seeds)
        data[heading] = [EMPTY if a == EMPTY else f"{a}, {b}" for a, b in zip(left, right, strict=True)]
    texts = [
        *notes.texts(),
        "Last epoch, in percent; in brackets the difference to the baseline with the same seed, its mean ± std below.",
        *([_ANOTHER_TASK] if published and not is_dense(suite) else []),
        *([_PUBLISHED] if published else []),
    ]
    title = f"{variant_title(suite, baseline.imbalance)}: seed by seed beside {suite.full_label(baseline.row)}"
    return Table(title, pd.DataFrame(data), tuple(texts))


def _column(ours: _Values, baseline: _Values, seeds: Sequence[int]) -> list[str]:
    """A cell a seed, and the mean below; with a baseline the difference to it in brackets."""
    differences = {seed: _minus(ours.get(seed), baseline.get(seed)) for seed in seeds}
    cells = []
    for seed in seeds:
        value, difference = ours.get(seed), differences[seed]
        cells.append(_cell(summarize([value]), None if difference is None else f"{difference:+.2f}"))
    gain = summarize(differences.values())
    return [*cells, _cell(summarize(ours.values()), None if gain.mean is None else _signed(gain))]


def _cell(value: Summary, difference: str | None) -> str:
    return mean_cell(value) + ("" if difference is None else f" ({difference})")


def _signed(gain: Summary) -> str:
    return f"{gain.mean:+.2f}" + ("" if gain.std is None else f" ± {gain.std:.2f}")


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _published(number: str, net: str) -> tuple[str, dict[int, float | None], dict[int, float | None]]:
    """Heading of a table of the paper, and its figures by seed without and with SAR."""
    found = [figure for figure in figures() if figure.source == "SAR" and figure.table == number]
    columns: dict[str, dict[int, float | None]] = {net: {}, "SAR": {}}
    for figure in found:
        seed, _, name = figure.row.removeprefix("seed ").partition(" | ")
        columns[name][int(seed)] = figure.value
    heading = f"paper Tab. {number} (segmentation, {net} on {found[0].dataset}, mIoU)"
    return heading, columns[net], columns["SAR"]


def _entries(suite: Suite, baseline: Line, family: Sequence[Line]) -> list[dict[str, Any]]:
    """The same as numbers, a line for each run."""
    reference = _values(suite, baseline)
    return [
        {
            **line_columns(suite, line),
            "metric": suite.metric,
            "seed": seed,
            "last": value,
            "baseline": None if line is baseline else baseline.row.name,
            "to_baseline": None if line is baseline else _minus(value, reference.get(seed)),
        }
        for line in (baseline, *family)
        for seed, value in _values(suite, line).items()
    ]
