"""The table of a suite whose rows are measured (``measure = "cost"``), from the file that ``benchmarks/run.py`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import replacing, why
from sar_cls.reporting.paper import figures
from sar_cls.reporting.tables.cells import EMPTY
from sar_cls.reporting.tables.suite_tables import SuiteTables, Table
from sar_cls.runs.folder import COSTS
from sar_cls.suites.rows import Suite

# Key of a measured row -> (heading, unit of the number in the file, digits).
_COLUMNS = {
    "parameters": ("training: parameters [M]", 1e6, 4),
    "forward": ("forward [GFLOP/step]", 1e9, 4),
    "step": ("step [GFLOP]", 1e9, 4),
    "step_seconds": ("step [ms]", 1e-3, 1),
    "peak_bytes": ("peak [MiB]", 2**20, 1),
    "inference_parameters": ("inference: parameters [M]", 1e6, 4),
    "inference": ("[MFLOP/image]", 1e6, 2),
    "inference_seconds": ("[ms/batch]", 1e-3, 1),
    "inference_peak_bytes": ("peak of a batch [MiB]", 2**20, 1),
}
# What the paper's table has: metric in paper.csv, heading.
_PAPER = {"parameters": "parameters [M]", "flops": "GFLOP"}
_TIMES = ("step_seconds", "inference_seconds")


def costs_file(suite: Suite, work_dir: Path | str) -> Path:
    """Where the measurements of a suite are."""
    return Path(work_dir) / suite.name / COSTS


def write_costs(suite: Suite, work_dir: Path | str, measured: Mapping[str, Any]) -> None:
    """Writes measurements, by baseline, beside those of other baselines that are there, each whole or not at all."""
    path = costs_file(suite, work_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**read_costs(suite, work_dir), **measured}, indent=1, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_costs(suite: Suite, work_dir: Path | str) -> dict[str, Any]:
    """What was measured: name of a baseline's row -> ``rows`` (figures by name), ``setting`` and where it was measured.

    Raises:
        InputError: the file is damaged, or the system does not let it be read.
    """
    path = costs_file(suite, work_dir)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for part in found.values():
            for figures_of_row in part["rows"].values():
                if not all(_is_cost(figures_of_row[key], key) for key in _COLUMNS):
                    raise ValueError("a figure is none")
            if not all(isinstance(part[key], str) for key in ("setting", "images", "where")):
                raise ValueError("the setting is missing")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(why(error, path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it and measure again") from error
    return found


def _is_cost(value: Any, key: str) -> bool:
    numbers = [value[end] for end in ("median", "low", "high")] if key in _TIMES else [value]
    return all(isinstance(number, (int, float)) and not isinstance(number, bool) and number >= 0 for number in numbers)


def cost_tables(suite: Suite, work_dir: Path | str) -> SuiteTables:
    """The table of a measured suite: every row that was measured, or that is not optional and has a figure of the paper.

    Without measurements every row that is not optional, beside the paper's figures.
    """
    import pandas as pd

    measured = read_costs(suite, work_dir)
    known = {name: costs for part in measured.values() for name, costs in part["rows"].items()}
    rows = [row for row in suite.rows if row.name in known or (not row.optional and (row.paper or not known))]
    cells, entries = [], []
    for row in rows:
        costs, reference = known.get(row.name), known.get(row.baseline) if row.baseline else None
        published = {metric: _published(suite, row.paper, metric) for metric in _PAPER}
        shown = [EMPTY if value is None else f"{value:.2f}" for value in published.values()]
        cells.append([row.label, *shown, *(_cell(key, costs, reference) for key in _COLUMNS)])
        entry: dict[str, Any] = {"suite": suite.name, "row": row.name, "label": row.label, "baseline": row.baseline}
        entry |= {f"paper_{metric}": value for metric, value in published.items()}
        entry["paper_task"] = suite.paper_task if any(value is not None for value in published.values()) else None
        for key in _COLUMNS:
            value = None if costs is None else costs[key]
            ends = ("median", "low", "high")
            entry |= {f"{key}_{end}": value and value[end] for end in ends} if key in _TIMES else {key: value}
        entries.append(entry)
    paper = [f"paper ({suite.paper_task}): {heading}" for heading in _PAPER.values()]
    frame = pd.DataFrame(cells, columns=["method", *paper, *(heading for heading, _, _ in _COLUMNS.values())])
    notes = [
        "A multiplication and an addition are two operations. Times are medians of interleaved rounds with their quartiles; in "
        "brackets what a row adds to its baseline, for times the median ratio of the rounds.",
        "Memory: the most that tensors take at once in a whole step (weights, gradients and momentum included) and in the forward "
        "pass of a batch.",
    ]
    if suite.paper_task:
        notes.append(
            f"The paper's figures (in training) are of another task ({suite.paper_task}): no difference is given."
        )
    notes += [f"{name}: {part['setting']}; {part['images']}; {part['where']}." for name, part in measured.items()]
    return SuiteTables((Table(suite.title + suite.origin, frame, tuple(notes)),), pd.DataFrame(entries))


def _published(suite: Suite, row: str | None, metric: str) -> float | None:
    hits = [
        f.value
        for f in figures()
        if (f.table, f.dataset, f.row, f.metric) == (suite.paper_table, suite.paper_dataset, row, metric)
    ]
    return hits[0] if hits else None


def _cell(key: str, costs: Mapping[str, Any] | None, reference: Mapping[str, Any] | None) -> str:
    """The figure and, with a baseline that was measured along with it, what is added to that."""
    if costs is None:
        return EMPTY
    _, unit, digits = _COLUMNS[key]
    if key in _TIMES:
        value = costs[key]
        text = (
            f"{value['median'] / unit:.{digits}f} [{value['low'] / unit:.{digits}f}, {value['high'] / unit:.{digits}f}]"
        )
        ratio = costs.get(f"{key}_ratio") if reference is not None else None
        return text if ratio is None else f"{text} ({100 * (ratio['median'] - 1):+.1f} %)"
    text = f"{costs[key] / unit:.{digits}f}"
    if reference is None:
        return text
    return text + (" (=)" if costs[key] == reference[key] else f" ({100 * (costs[key] / reference[key] - 1):+.3f} %)")
