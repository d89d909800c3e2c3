"""The data of the page, from which its scripts draw: records, and of each line its curves, classes and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sar_cls.errors import InputError
from sar_cls.reporting.class_metric import class_metric
from sar_cls.reporting.geometry import RunGeometries, compare_geometry
from sar_cls.reporting.html.answers import published_gain
from sar_cls.reporting.html.cells import HtmlTable, plain_table
from sar_cls.reporting.html.class_maps import class_maps
from sar_cls.reporting.html.classes import ClassData
from sar_cls.reporting.html.curves import TRAINING, curves_of, reading_titles
from sar_cls.reporting.html.numbers import short
from sar_cls.reporting.html.rerun import command_of
from sar_cls.reporting.html.views import Entry, Runs, View
from sar_cls.reporting.tables.geometry_tables import geometry_tables
from sar_cls.reporting.tables.suite_tables import METRIC_LABELS
from sar_cls.runs.folder import HISTORY_FILE
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Row


@dataclass(frozen=True)
class Content:
    """What the page holds.

    Attributes:
        data: plain values for its scripts.
        runs: record and row of every run that is shown, once each.
        geometry: tables of the features' geometry, by suite.
    """

    data: dict[str, Any]
    runs: list[tuple[Mapping[str, Any], Row]]
    geometry: dict[str, list[HtmlTable]]


def content_of(views: Sequence[View], all_runs: Runs, warn: Warn) -> Content:
    """Reads the runs' files; whatever is missing or damaged is left out with a sentence, and the rest is there."""
    runs: dict[str, tuple[Mapping[str, Any], Row]] = {}
    for view in views:
        for entry in view.entries:
            for other, group in ((entry.line.row, entry.group), *_baseline(view, entry)):
                runs |= {run["run_id"]: (run, other) for run in group.runs if run["run_id"] not in runs}
    classes, histories, geometries = ClassData(warn), _Histories(warn), RunGeometries(all_runs, warn)
    data = {
        "records": {run_id: record for run_id, (record, _) in runs.items()},
        "commands": {run_id: command_of(record, row) for run_id, (record, row) in runs.items()},
        "metricNames": METRIC_LABELS,
        "training": TRAINING,
        "readings": histories.readings if runs else {},
        "views": [
            {
                "key": view.key,
                "metricLabel": METRIC_LABELS.get(view.suite.metric, view.suite.metric),
                "classMetric": asdict(class_metric(view.suite)) | {"heading": class_metric(view.suite).heading},
                "shared": _shared_text(view),
                "entries": [_entry(view, entry, classes, histories) for entry in view.entries],
                "maps": class_maps(view, geometries),
            }
            for view in views
        ],
    }
    classes.tell()
    histories.tell()
    geometry = _geometry_tables(views, all_runs, geometries, warn)
    return Content(data, list(runs.values()), geometry)


def _geometry_tables(
    views: Sequence[View], runs: Runs, source: RunGeometries, warn: Warn
) -> dict[str, list[HtmlTable]]:
    found = {}
    for suite in {view.suite.name: view.suite for view in views if view.entries}.values():
        lines = compare_geometry(suite, runs, warn, source)
        if lines:
            found[suite.name] = [plain_table(table) for table in geometry_tables([(suite, lines)]).tables]
    return found


def _baseline(view: View, entry: Entry) -> list[tuple[Row, Any]]:
    return [] if entry.baseline is None else [(entry.baseline.row, entry.baseline)]


def _entry(view: View, entry: Entry, classes: ClassData, histories: _Histories) -> dict[str, Any]:
    line, difference = entry.line, entry.line.to_baseline
    delta = None
    if difference is not None and difference.mean is not None:
        delta = {name: short(getattr(difference, name), 6) for name in ("mean", "low", "high")} | {"n": difference.n}
    beside = next(
        (other.key for other in view.entries if entry.baseline is not None and other.group == entry.baseline), None
    )
    return {
        "key": entry.key,
        "name": entry.name,
        "short": _short_name(view, entry),
        "details": list(entry.details),
        "changed": ", ".join(line.deviations),
        "optional": line.row.optional,
        "stage": line.row.stage,
        "runs": [run["run_id"] for run in entry.group.runs],
        "baseline": None if entry.baseline is None else [run["run_id"] for run in entry.baseline.runs],
        "baselineLabel": entry.baseline_label,
        "baselineEntry": beside,
        "delta": delta,
        "gain": short(published_gain(view.suite, line), 6) if not line.deviations else None,
        "curves": histories.of(entry),
        **classes.of(entry),
    }


def _shared(view: View, stage: int) -> list[str]:
    """What all lines of a stage have in common beyond their rows' recipes."""
    all_details = [entry.details for entry in view.entries if entry.line.row.stage == stage]
    return (
        [detail for detail in all_details[0] if all(detail in others for others in all_details)] if all_details else []
    )


def _short_name(view: View, entry: Entry) -> str:
    """The label with what tells it from the other lines of its stage; the rest is said once, by :func:`_shared_text`."""
    shared = _shared(view, entry.line.row.stage)
    own = [detail for detail in entry.details if detail not in shared]
    return entry.label + (f" ({', '.join(own)})" if own else "")


def _shared_text(view: View) -> str:
    stages = {stage: _shared(view, stage) for stage in (1, 2)}
    texts = [
        (f"stage {stage}: " if view.suite.two_stage else "") + ", ".join(found)
        for stage, found in stages.items()
        if found
    ]
    return f"Of all lines here: {'; '.join(texts)}." if texts else ""


class _Histories:
    """Reads the curves of each line."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._without: list[Entry] = []
        self.readings = reading_titles()

    def of(self, entry: Entry) -> dict[str, Any] | None:
        if not entry.line.group or entry.group.recipe.epochs == 0:
            return None  # nothing was trained
        if any(not (folder / HISTORY_FILE).exists() for folder in entry.run_dirs):
            self._without.append(entry)
            return None
        try:
            columns = [*TRAINING, *self.readings]
            return curves_of(entry.run_dirs, columns, list(self.readings), entry.group.runs)
        except InputError as error:
            self._warn(f"{entry.name} is left out of the curves: {str(error).rstrip('.')}.")
            return None

    def tell(self) -> None:
        if self._without:
            first, more = self._without[0], len(self._without) - 1
            rows = f"{first.name} and {more} more line{'s' if more > 1 else ''}" if more else first.name
            self._warn(f"no curves of {rows}: no {HISTORY_FILE}, for example in {first.run_dirs[0]}.")
