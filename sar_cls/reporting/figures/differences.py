"""The rows of a suite against their baselines, as dots with intervals: an ablation at one glance, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sar_cls.reporting.comparison import Line
from sar_cls.reporting.figures.labels import wrapped
from sar_cls.reporting.figures.series import NothingToDraw
from sar_cls.reporting.figures.style import GREY, RowStyle, legend_below, new_figure, style
from sar_cls.suites.rows import Row, Suite

JOINT = 0.5
"""Line width of simultaneous intervals, in points; the others have 1.2."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """A row's difference to its baseline, in points of the suite's metric.

    Attributes:
        label: of the row.
        style: of the row.
        mean: over the paired seeds.
        low: lower end of the 95 % interval; None for one pair.
        high: upper end.
        pairs: how many.
        joint: ends of the interval that holds together with those of all rows compared with the same baseline; None where there
            is none.
        paper: lower and upper end of the published difference, equal for a single figure; None where none is published.
        details: how the recipe differs from the row's.
    """

    label: str
    style: RowStyle
    mean: float
    low: float | None
    high: float | None
    pairs: int
    joint: tuple[float, float] | None = None
    paper: tuple[float, float] | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Points below a heading; the heading is empty where there is one section alone.

    Attributes:
        heading: the rows' group and stage.
        baseline: label of what they are compared with; empty where they have different ones.
        points: a row each.
    """

    heading: str
    baseline: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Differences:
    """Sections over one axis.

    Attributes:
        metric: of the suite.
        sections: one at least.
        paper_task: of which other task the paper's figures are; None where they are of ours.
    """

    metric: str
    sections: tuple[Section, ...]
    paper_task: str | None = None

    @property
    def points(self) -> list[Point]:
        """Of all sections."""
        return [point for section in self.sections for point in section.points]


def prepare(
    suite: Suite, lines: Sequence[Line], styles: Mapping[str, RowStyle], without: Sequence[str] = ()
) -> Differences:
    """The first recipe of each row with its paired difference, in the order of the suite, stages and groups apart.

    Args:
        suite: the suite.
        lines: of its comparison, of one imbalance factor.
        styles: of its rows, by name.
        without: names of the rows that are drawn elsewhere.

    Raises:
        NothingToDraw: no row was run with seeds of its baseline.
    """
    found: dict[tuple[int, str], dict[str, tuple[Row, Point]]] = {}
    for line in lines:
        point = point_of(suite, line, lines, styles)
        if point is not None and line.row.name not in without:
            found.setdefault((line.row.stage, line.row.group), {}).setdefault(line.row.name, (line.row, point))
    if not found:
        raise NothingToDraw("no row was run with seeds of its baseline")
    sections = []
    for (stage, group), rows in sorted(
        found.items(), key=lambda item: item[0][0]
    ):  # stable: groups in the suite's order
        baselines = {row.baseline for row, _ in rows.values() if row.baseline is not None}
        baseline = suite.full_label(suite.row(next(iter(baselines)))) if len(baselines) == 1 else ""
        heading = ", ".join(
            part for part in (group, f"{'stage' if group else 'Stage'} {stage}" if suite.two_stage else "") if part
        )
        sections.append(Section(heading, baseline, tuple(point for _, point in rows.values())))
    return Differences(suite.metric, tuple(sections), paper_task_of(lines))


def point_of(suite: Suite, line: Line, lines: Sequence[Line], styles: Mapping[str, RowStyle]) -> Point | None:
    """The point of a line; None where there is no difference to a baseline."""
    difference = line.to_baseline
    if difference is None or difference.mean is None:
        return None
    return Point(
        label=suite.full_label(line.row),
        style=styles.get(line.row.name, style(0)),
        mean=difference.mean,
        low=difference.low,
        high=difference.high,
        pairs=difference.n,
        joint=None if line.adjusted is None else (line.adjusted.low, line.adjusted.high),
        paper=paper_difference(line, lines),
        details=line.deviations,
    )


def paper_difference(line: Line, lines: Sequence[Line]) -> tuple[float, float] | None:
    """Both ends of the difference between the published figures of a row and of its baseline; None where one is missing."""
    theirs = next((other.paper for other in lines if other.row.name == line.row.baseline and other.paper), None)
    if line.paper is None or theirs is None:
        return None
    most = line.paper.value if line.paper.value_max is None else line.paper.value_max
    return line.paper.value - theirs.value, most - theirs.value


def paper_task_of(lines: Sequence[Line]) -> str | None:
    """Of which other task the paper's figures beside these lines are; None where they are of ours."""
    tasks = (line.row.paper_task for line in lines if line.paper is not None)
    return next((task for task in tasks if task), None)


def draw(data: Differences) -> Figure:
    """A line for each row, headings between the sections."""
    several = len(data.sections) > 1
    places: list[float] = []
    titles: list[str] = []
    headings: list[int] = []
    entries: list[tuple[float, Point]] = []
    place = 0.0
    for section in data.sections:
        if several:
            headings.append(len(titles))
            places.append(place)
            titles.append(wrapped(section.heading, 26))
            place += 0.8 + 0.3 * titles[-1].count("\n")
        for point in section.points:
            label = wrapped(point.label, 26)
            more = 0.25 * label.count("\n")
            place += more
            places.append(place)
            titles.append(label)
            entries.append((place, point))
            place += 1 + more
        place += 0.3
    figure = new_figure(0.75 + 0.215 * place)
    axis = figure.subplots()
    axis.axvline(0, color="black", linewidth=0.6)
    for height, point in entries:
        if point.paper is not None:
            low, high = point.paper
            axis.plot([low, high], [height + 0.27] * 2, color=GREY, linewidth=1.0)
            axis.plot((low + high) / 2, height + 0.27, "D", color=GREY, markerfacecolor="white", markersize=3)
        colour = point.style.color
        if point.low is not None and point.high is not None:
            axis.plot([point.low, point.high], [height] * 2, color=colour, linewidth=1.2, solid_capstyle="butt")
        axis.plot(
            point.mean, height, "o", color=colour, markersize=4.2,
            markerfacecolor=colour if point.low is not None else "white",
        )  # fmt: skip
    axis.set_ylim(max(places) + 0.7, min(places) - 0.6)
    axis.set_yticks(places, titles)
    axis.tick_params(axis="y", length=0)
    for index in headings:
        axis.get_yticklabels()[index].set_fontweight("bold")
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_xlabel(wrapped(f"Difference{_against(data)} in {metric_name(data.metric)} (points)", 40))
    _widen(axis)
    # After the axis has its limits: with two or three seeds these are so wide that all else would shrink to a dot.
    for height, point in entries:
        if point.joint is not None:
            axis.plot(point.joint, [height] * 2, color=point.style.color, linewidth=JOINT, scalex=False, zorder=1)
    handles, labels = legend(data.points)
    if len(handles) > 1:
        legend_below(figure, handles, labels)
    return figure


def legend(points: Sequence[Point]) -> tuple[list[Any], list[str]]:
    """Handles and labels of what is in a figure of points."""
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    labels: list[str] = []
    dark: dict[str, Any] = {"color": "black", "markersize": 4.2}
    if any(point.low is not None for point in points):
        handles.append(Line2D([], [], marker="o", linewidth=1.2, **dark))
        labels.append("ours, 95 % interval")
    if any(point.joint is not None for point in points):
        handles.append(Line2D([], [], color="black", linewidth=JOINT))
        labels.append("simultaneous")
    if any(point.low is None for point in points):
        handles.append(Line2D([], [], marker="o", linestyle="", markerfacecolor="white", **dark))
        labels.append("ours, one seed")
    if any(point.paper is not None for point in points):
        handles.append(Line2D([], [], marker="D", linestyle="", color=GREY, markerfacecolor="white", markersize=3))
        labels.append("paper")
    return handles, labels


def metric_name(metric: str) -> str:
    """A metric's name in a figure."""
    return {"top1": "top-1", "top5": "top-5", "miou": "mIoU"}.get(metric, metric.replace("_", " "))


def _against(data: Differences) -> str:
    baselines = {section.baseline for section in data.sections}
    return f" to {next(iter(baselines))}" if len(baselines) == 1 and "" not in baselines else " to the baseline"


def _widen(axis: Axes) -> None:
    """A horizontal axis of two points at least, so that small differences look small."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.get_xlim()
    missing = 2.0 - (high - low)
    if missing > 0:
        axis.set_xlim(low - missing / 2, high + missing / 2)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.xaxis.set_major_formatter("{x:g}")


def caption(data: Differences, suite: Suite) -> str:
    """What is drawn, and against what."""
    baselines = [f"{section.heading or 'all rows'}: {section.baseline or 'each its own'}" for section in data.sections]
    several = len({section.baseline for section in data.sections}) > 1
    against = f" (baselines: {'; '.join(baselines)})" if several else ""
    return (
        f"{suite.title}: difference in {metric_name(data.metric)} at the last epoch{_against(data)}{against}, in points, mean over "
        f"{about_points(data.points, data.paper_task)}"
    )


def about_points(points: Sequence[Point], paper_task: str | None) -> str:
    """The end of a caption of points: pairs, intervals, the paper's figures, shortened recipes."""
    pairs = sorted({point.pairs for point in points})
    number = f"{pairs[0]} to {pairs[-1]} pairs" if len(pairs) > 1 else f"{pairs[0]} pair{'s' if pairs[0] > 1 else ''}"
    text = f"paired seeds ({number}), with its 95 % interval (Student's t) where there are two pairs at least."
    if any(point.joint is not None for point in points):
        text += (
            " Thin lines: simultaneous 95 % intervals, which hold at once for all rows compared with the same baseline (Bonferroni)"
            "; they may go on beyond the frame."
        )
    if any(point.paper is not None for point in points):
        kind = f", of another task ({paper_task})" if paper_task else ""
        text += f" Diamonds: the difference between the paper's figures{kind}."
    shared = [detail for detail in points[0].details if all(detail in point.details for point in points)]
    if shared:
        text += f" No reproduction: {', '.join(shared)}."
    for point in points:
        own = [detail for detail in point.details if detail not in shared]
        if own:
            text += f" {point.label}: {', '.join(own)}."
    return text
