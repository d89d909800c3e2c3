"""How a result depends on a setting: the rows of each grid of a suite over its values (the paper's Tab. 16 to 19)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.reporting.comparison import Line
from sar_cls.reporting.figures.differences import (
    JOINT,
    Point,
    about_points,
    legend,
    metric_name,
    paper_task_of,
    point_of,
)
from sar_cls.reporting.figures.labels import listed, wrapped
from sar_cls.reporting.figures.series import NothingToDraw
from sar_cls.reporting.figures.style import GREY, HEADING, RowStyle, leftmost, legend_below, panels
from sar_cls.suites.rows import Row, Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Signs of SAR's settings in the paper.
_SIGNS = {"aux_weight": "λ1", "anchor_weight": "λ2", "tau": "τ", "delta": "δ", "momentum": "α"}
# What a setting is where a row says nothing of it; a regularizer's own settings have the defaults of its class.
_DEFAULTS = {"lr_mult": 1.0}


@dataclass(frozen=True)
class Sweep:
    """Rows that differ in one setting.

    Attributes:
        title: of the setting.
        stage: 1 or 2.
        values: rising; NaN at the end for the row whose value is not known.
        points: their differences to the baseline.
        default: index of the row that the others vary; None where it is not there.
    """

    title: str
    stage: int
    values: tuple[float, ...]
    points: tuple[Point, ...]
    default: int | None = None


@dataclass(frozen=True)
class Sensitivity:
    """Sweeps of a suite.

    Attributes:
        metric: of the suite.
        sweeps: a panel each.
        baseline: label of what all rows are compared with; empty where there are several.
        paper_task: of which other task the paper's figures are.
    """

    metric: str
    sweeps: tuple[Sweep, ...]
    baseline: str
    paper_task: str | None = None


def sweeps_of(suite: Suite) -> dict[tuple[str, int], tuple[str, list[Row]]]:
    """Family and stage -> the setting's path and the rows of each grid over one setting that is a number.

    The first path stands for several that have one value in each row.
    """
    families: dict[tuple[str, int], list[Row]] = {}
    for row in suite.rows:
        if row.family:
            families.setdefault((row.family, row.stage), []).append(row)
    found = {}
    for key, rows in families.items():
        settings = [_flat(_source(suite, row).source.changes) for row in rows]
        paths = sorted({path for one in settings for path in one})
        varying = [path for path in paths if any(one.get(path) != settings[0].get(path) for one in settings)]
        # Several paths are one setting where they have the same value in each row, as the sizes of two layers that meet.
        same = all(len({one.get(path) for path in varying}) == 1 for one in settings)
        if varying and same and all(_is_number(one.get(varying[0])) for one in settings):
            found[key] = (varying[0], rows)
    return found


def prepare(suite: Suite, lines: Sequence[Line], styles: Mapping[str, RowStyle]) -> Sensitivity:
    """The sweeps of which a row was run, with the row that each varies.

    Args:
        suite: the suite.
        lines: of its comparison, of one imbalance factor.
        styles: of its rows, by name.

    Raises:
        NothingToDraw: no sweep has a row that was run with seeds of its baseline.
    """
    sweeps, baselines = [], set()
    for (_, stage), (path, rows) in sweeps_of(suite).items():
        entries: list[tuple[float, Row, Point]] = []
        references = [
            row
            for row in suite.rows
            if row.stage == stage and not row.family and rows[0].group and rows[0].group in row.also_in
        ]
        for row in [*rows, *references]:
            line = next((line for line in lines if line.row.name == row.name and line.to_baseline is not None), None)
            point = None if line is None else point_of(suite, line, lines, styles)
            if point is not None:
                entries.append((_value(_source(suite, row), path), row, point))
                baselines.add(row.baseline or "")
        if not any(row in rows for _, row, _ in entries):
            continue
        entries.sort(key=lambda entry: (math.isnan(entry[0]), entry[0]))
        default = next((index for index, (_, row, _) in enumerate(entries) if row in references), None)
        name = path.rpartition(".")[2]
        sign = _SIGNS.get(name, name.replace("_", " "))
        title = rows[0].group or sign
        title = title if sign in title or name not in _SIGNS else f"{title}, {sign}"
        values, _, points = zip(*entries, strict=True)
        sweeps.append(Sweep(title, stage, values, points, default))
    if not sweeps:
        raise NothingToDraw("no grid over one setting was run with seeds of its baseline")
    baseline = suite.full_label(suite.row(baselines.pop())) if len(baselines) == 1 else ""
    return Sensitivity(suite.metric, tuple(sweeps), baseline, paper_task_of(lines))


def _source(suite: Suite, row: Row) -> Row:
    """The row whose settings a row's runs follow: for a second stage that of its first, which is what a sweep varies."""
    return row if row.after is None else suite.row(row.after)


def _value(row: Row, path: str) -> float:
    """A row's value of a setting: its own, its config's, or the default; NaN where that is not known."""
    settings = _flat(row.source.changes)
    value: Any = settings.get(path)
    name = path.rpartition(".")[2]
    if value is None:
        value = _of_config(row, path)
    if value is None:
        value = _DEFAULTS.get(name)
    if value is None and ".regularizer." in path:
        from sar_cls.regularizers import REGULARIZERS  # imports torch

        kind = REGULARIZERS.get(str(settings.get(f"{path.rpartition('.')[0]}.type")))
        parameter = None if kind is None else inspect.signature(kind).parameters.get(name)
        value = None if parameter is None else parameter.default
    return float(value) if _is_number(value) else math.nan


def _of_config(row: Row, path: str) -> Any:
    """What the config of a row says; None where it says nothing, or cannot be read here."""
    try:
        from sar_cls.engine.config import load_config  # imports mmengine

        value: Any = load_config(row.source.config).to_dict()
    except (ImportError, InputError):
        return None
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flat(changes: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings as paths with points between the names."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def draw(data: Sensitivity) -> Figure:
    """A panel for each sweep; values in equal steps, since most grids are neither even nor logarithmic."""
    two = len({sweep.stage for sweep in data.sweeps}) > 1
    titles = [wrapped(sweep.title + (f", stage {sweep.stage}" if two else ""), HEADING) for sweep in data.sweeps]
    lines = max(title.count("\n") for title in titles) + 1
    figure, axes = panels(len(data.sweeps), 1.3 + 0.115 * lines, extra=0.3, sharey=True)
    for axis, sweep, title in zip(axes, data.sweeps, titles, strict=True):
        axis.axhline(0, color="black", linewidth=0.6)
        papers = [(place, point.paper) for place, point in enumerate(sweep.points) if point.paper is not None]
        if papers:
            means = [(low + high) / 2 for _, (low, high) in papers]
            axis.plot(
                [place for place, _ in papers], means, "D--", color=GREY, linewidth=0.8, markersize=2.8, markerfacecolor="white",
                zorder=1,
            )  # fmt: skip
        colour = _colour(sweep)
        axis.plot(range(len(sweep.points)), [point.mean for point in sweep.points], color=colour, linewidth=0.6)
        for place, point in enumerate(sweep.points):
            if point.low is not None and point.high is not None:
                axis.plot([place] * 2, [point.low, point.high], color=colour, linewidth=1.2, solid_capstyle="butt")
            axis.plot(
                place, point.mean, "o", color=colour, markersize=4,
                markerfacecolor=colour if point.low is not None else "white",
            )  # fmt: skip
        ticks = ["default" if math.isnan(value) else f"{value:g}" for value in sweep.values]
        axis.set_xticks(range(len(ticks)), ticks)
        if sweep.default is not None:
            axis.get_xticklabels()[sweep.default].set_fontweight("bold")
        axis.set_xlim(-0.5, len(ticks) - 0.5)
        axis.set_title(title, fontsize=6.8)
        axis.grid(axis="y")
    for axis in leftmost(axes):
        axis.set_ylabel(f"Δ {metric_name(data.metric)} (points)")
    low, high = axes[0].get_ylim()
    if high - low < 2:
        axes[0].set_ylim(low - (2 - high + low) / 2, high + (2 - high + low) / 2)
    for axis, sweep in zip(axes, data.sweeps, strict=True):
        colour = _colour(sweep)
        for place, point in enumerate(sweep.points):
            if point.joint is not None:
                axis.plot([place] * 2, point.joint, color=colour, linewidth=JOINT, scaley=False, zorder=1)
    handles, labels = legend([point for sweep in data.sweeps for point in sweep.points])
    legend_below(figure, handles, labels)
    return figure


def _colour(sweep: Sweep) -> str:
    """One for all points: that of the row they vary."""
    return sweep.points[sweep.default if sweep.default is not None else 0].style.color


def caption(data: Sensitivity, suite: Suite) -> str:
    """What is drawn, and against what."""
    points = [point for sweep in data.sweeps for point in sweep.points]
    against = data.baseline or "the baseline of each row"
    unknown = any(math.isnan(value) for sweep in data.sweeps for value in sweep.values)
    default = (
        " Bold: the value of the row that the others vary." if any(s.default is not None for s in data.sweeps) else ""
    )
    what = f"{suite.title}: sensitivity to {listed([sweep.title for sweep in data.sweeps])}."
    return (
        f"{what} Difference in {metric_name(data.metric)} at the last epoch to {against}, in points, mean over "
        f"{about_points(points, data.paper_task)}{default}{' default: as the recipe has it.' if unknown else ''}"
    )
