"""The rarest classes of a long tail, each row beside its baseline (the SAR paper's Tab. 11 to 13, for classification).

Accuracies come from the test outputs of finished runs, or from their ``per_class.csv``; none is made twice. The paper's classes
are those of its sets and its figures IoU, so they stand in a table of their own, beside ours where the set is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.reporting.class_metric import IOU, class_metric, is_dense
from sar_cls.reporting.comparison import LINE_COLUMNS, Line, compare, families, line_columns
from sar_cls.reporting.groups import Group
from sar_cls.reporting.stats import paired_difference, summarize
from sar_cls.reporting.tables.cells import Notes, difference_cell, label_cell, mean_cell
from sar_cls.reporting.tables.published_rare_classes import beside_ours, has_rare_classes, published_table
from sar_cls.reporting.tables.suite_tables import SuiteTables, Table, variant_title
from sar_cls.runs.ledger import Warn
from sar_cls.runs.per_class import class_names, last_accuracies
from sar_cls.suites.rows import Suite

# A set whose most frequent class has no more than so many times the images of its rarest has no rare classes.
BALANCED = 1.5
_Runs = Sequence[tuple[Path, Mapping[str, Any]]]


@dataclass(frozen=True)
class _Tail:
    """The rarest classes of a family's training images: labels, names and counts, the rarest first."""

    labels: list[int]
    names: list[str]
    counts: list[float]


def rare_class_tables(suites: Iterable[Suite], runs: _Runs, number: int, warn: Warn) -> SuiteTables:
    """A table for each baseline with the rows that are compared with it, a line for each of the rarest classes.

    Args:
        suites: without those that they include.
        runs: folder and record of each run.
        number: of classes; all where a set has fewer. Of equally frequent ones those with the lower label count as rarer.
        warn: called with a sentence for each run whose accuracies of the classes are missing.

    Returns:
        The tables; for a balanced set one without lines that says so in its note. A suite of one of the paper's sets ends with the
        paper's classes, also without runs; those of all sets come last where a suite with a table in the paper is of another set.
    """
    import pandas as pd

    folders = {record["run_id"]: folder for folder, record in runs}
    tables: list[Table] = []
    entries: list[dict[str, Any]] = []
    strange: list[Suite] = []  # with a table in the paper, and whose figures are not of its sets of rare classes
    for suite in suites:
        lines = compare(suite, [record for _, record in runs], warn)
        accuracies: dict[str, Any] = {}
        for family in families(lines):
            baseline = next(line for line in lines if line.group is family[0].baseline)
            members = [baseline, *family]
            for line in members:
                accuracies |= _accuracies(line.group, folders, accuracies, warn)
            title = (
                f"{variant_title(suite, baseline.imbalance)}: rarest classes beside {suite.full_label(baseline.row)}"
            )
            found = _tail(members, folders, number)
            if isinstance(found, str):
                tables.append(Table(title, pd.DataFrame(), (found,)))
                continue
            table, figures_of = _table(suite, title, members, found, accuracies)
            tables.append(table)
            entries += figures_of
            strange += [suite] if suite.paper_table and not has_rare_classes(suite) else []
        if has_rare_classes(suite):
            for line in lines:
                accuracies |= _accuracies(line.group, folders, accuracies, warn)
            tables.append(beside_ours(suite, lines, partial(_by_name, folders, accuracies)))
    columns = [*LINE_COLUMNS, "class", "name", "train_count", "n", "last_mean", "last_std"]
    columns += ["baseline", "to_baseline", "to_baseline_low", "to_baseline_high", "pairs"]
    if strange:
        tables.append(published_table(another_task=not all(is_dense(suite) for suite in strange)))
    return SuiteTables(tuple(tables), pd.DataFrame(entries, columns=columns))


def _accuracies(
    group: Group | None, folders: Mapping[str, Path], known: Mapping[str, Any], warn: Warn
) -> dict[str, Any]:
    """Run id -> accuracy of each class; None for a run that has none."""
    found: dict[str, Any] = {}
    for run in group.runs if group is not None else ():
        if run["run_id"] in known:
            continue
        try:
            found[run["run_id"]] = last_accuracies(folders[run["run_id"]], len(run["train_counts"]))
        except InputError as error:
            warn(f"a run is left out of the rarest classes: {str(error).rstrip('.')}.")
            found[run["run_id"]] = None
    return found


def _by_name(folders: Mapping[str, Path], accuracies: Mapping[str, Any], run_id: str) -> dict[str, float]:
    """IoU by the name of the class in small letters; empty where a run has none."""
    found, names = accuracies[run_id], [name.lower() for name in class_names(folders[run_id])]
    return {} if found is None or len(names) != len(found) else dict(zip(names, map(float, found), strict=True))


def _tail(members: Sequence[Line], folders: Mapping[str, Path], number: int) -> _Tail | str:
    """The rarest classes, or a sentence that there are none. Splits that differ by seed count with their mean."""
    runs = [run for line in members if line.group is not None for run in line.group.runs]
    counts = [sum(column) / len(runs) for column in zip(*(run["train_counts"] for run in runs), strict=True)]
    low, high = min(counts), max(counts)
    if high <= BALANCED * low:
        images = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
        unit = "pixels" if (runs[0].get("extra") or {}).get("unit") == "iterations" else "images"
        return f"Balanced: every class has {images} training {unit}, so none is rare."
    names = next((found for run in runs if (found := class_names(folders[run["run_id"]]))), [])
    labels = sorted(range(len(counts)), key=counts.__getitem__)[:number]
    shown = [names[label] if label < len(names) and names[label] else f"class {label}" for label in labels]
    return _Tail(labels, shown, [counts[label] for label in labels])


def _number(count: float) -> str:
    """Of images or pixels; a mean over splits can be a fraction, of which nobody asks where there are thousands."""
    return f"{count:.4g}" if count < 1000 else f"{count:,.0f}"


def _table(
    suite: Suite, title: str, members: Sequence[Line], tail: _Tail, accuracies: Mapping[str, Any]
) -> tuple[Table, list[dict[str, Any]]]:
    import pandas as pd

    notes = Notes()
    heads = [f"{name} ({_number(count)})" for name, count in zip(tail.names, tail.counts, strict=True)]
    metric = class_metric(suite)
    data: dict[str, list[str]] = {f"class (training {metric.unit}s)": [*heads, f"mean of the {len(heads)}"]}
    baseline = members[0]
    entries = []
    for line in members:
        label = label_cell(line, notes, suite.full_label(line.row))
        label += f" ({line.row.name})" if label in data else ""
        data[label], differences = [], []
        for position in (*range(len(heads)), None):
            ours, theirs = (_by_seed(one.group, accuracies, tail, position) for one in (line, baseline))
            summary = summarize(ours.values())
            difference = None if line is baseline else paired_difference(ours, theirs)
            data[label].append(mean_cell(summary))
            differences.append(difference_cell(difference))
            entries.append(
                {
                    **line_columns(suite, line),
                    "class": None if position is None else tail.labels[position],
                    "name": f"mean of the {len(heads)}" if position is None else tail.names[position],
                    "train_count": None if position is None else tail.counts[position],
                    "n": summary.n,
                    "last_mean": summary.mean,
                    "last_std": summary.std,
                    "baseline": None if line is baseline else baseline.row.name,
                    "to_baseline": difference.mean if difference else None,
                    "to_baseline_low": difference.low if difference else None,
                    "to_baseline_high": difference.high if difference else None,
                    "pairs": difference.n if difference else None,
                }
            )
        if line is not baseline:
            data[f"Δ {label} [95 %]"] = differences
    texts = [
        *notes.texts(),
        f"{'IoU' if metric is IOU else 'Accuracy on the test images'} of the class at the last epoch, in percent, mean ± "
        "std over seeds; Δ: paired by seed, n.s. "
        "where the 95 % interval holds 0. The intervals are not corrected for the number of classes: judge by the last line.",
    ]
    return Table(title, pd.DataFrame(data), tuple(texts)), entries


def _by_seed(
    group: Group | None, accuracies: Mapping[str, Any], tail: _Tail, position: int | None
) -> dict[int, float | None]:
    """Seed -> accuracy of one of the rarest classes, or (position None) the mean over them."""
    result: dict[int, float | None] = {}
    for run in group.runs if group is not None else ():
        found = accuracies[run["run_id"]]
        if found is not None and len(found) == len(run["train_counts"]):
            chosen = found[tail.labels]
            result[run["seed"]] = float(chosen.mean() if position is None else chosen[position])
    return result
