"""Neural collapse over the shot groups (Papyan, Han and Donoho 2020, https://arxiv.org/abs/2008.08186)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.reporting.figures.labels import names, provenance
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.figures.style import RowStyle, legend_below, legend_height, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Split and name of a figure in a record's geometry, and how its panel is called.
FIGURES = (
    ("train", "nc1", "NC1, within classes"),
    ("train", "nc2_simplex", "NC2, off the simplex"),
    ("train", "nc3", "NC3, off the weights"),
    ("test", "nc4", "NC4, off nearest mean (%)"),
)
GROUPS = {"all": "all", "many_shot": "many", "medium_shot": "medium", "few_shot": "few"}


@dataclass(frozen=True)
class Panel:
    """One figure of neural collapse.

    Attributes:
        title: which.
        values: float [rows, groups, runs], NaN where it could not be computed or a row has fewer runs.
    """

    title: str
    values: np.ndarray


@dataclass(frozen=True)
class Collapse:
    """Panels over the same rows and groups.

    Attributes:
        labels: of the rows.
        styles: of the rows.
        groups: names of the shot groups.
        panels: those that have a number.
        without: titles of those that have none, with the reason.
    """

    labels: tuple[str, ...]
    styles: tuple[RowStyle, ...]
    groups: tuple[str, ...]
    panels: tuple[Panel, ...]
    without: tuple[str, ...]


def prepare(series: Sequence[Series]) -> Collapse:
    """The figures of every run, from its record or its features.

    Raises:
        NothingToDraw: none of them could be computed.
    """
    groups = [
        name for name in GROUPS if any(name in run["train"] for entry in series for run in entry.geometries)
    ]  # fmt: skip
    runs = max(len(entry.run_dirs) for entry in series)
    found, without = [], []
    for split, figure, title in FIGURES:
        values = np.full((len(series), len(groups), runs), np.nan)
        reason = "no number"
        for row, entry in enumerate(series):
            for run, geometry in enumerate(entry.geometries):
                for place, group in enumerate(groups):
                    value = geometry[split].get(group, {}).get(figure)
                    if isinstance(value, (int, float)):
                        values[row, place, run] = value
                    elif value:
                        reason = str(value)
        if np.isfinite(values).any():
            found.append(Panel(title, values))
        else:
            without.append(f"{title}: {reason}")
    if not found:
        raise NothingToDraw(f"nothing of neural collapse could be computed ({without[0]})")
    labels = tuple(names(series)[0])
    return Collapse(labels, tuple(entry.style for entry in series), tuple(groups), tuple(found), tuple(without))


def draw(data: Collapse) -> Figure:
    """A panel for each figure; rows side by side in each shot group."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator, NullFormatter

    figure, axes = panels(len(data.panels), 1.5, extra=legend_height(data.labels))
    width = 0.76 / len(data.labels)
    for axis, panel in zip(axes, data.panels, strict=True):
        for row, style in enumerate(data.styles):
            places = np.arange(len(data.groups)) - 0.38 + width * (row + 0.5)
            for place, values in zip(places, panel.values[row], strict=True):
                known = values[np.isfinite(values)]
                if not known.size:
                    continue
                axis.plot(
                    np.full(len(known), place), known, style.marker, color=style.color, markersize=3, alpha=0.55,
                    markeredgewidth=0,
                )  # fmt: skip
                axis.plot(
                    [place - width / 2.4, place + width / 2.4], [known.mean()] * 2, color=style.color, linewidth=1.3,
                    solid_capstyle="butt",
                )  # fmt: skip
        axis.set_xticks(range(len(data.groups)), [GROUPS[group] for group in data.groups], fontsize=6)
        axis.set_xlim(-0.5, len(data.groups) - 0.5)
        axis.set_title(panel.title, fontsize=6.8)
        positive = panel.values[np.isfinite(panel.values)]
        if positive.min() > 0 and positive.max() > 100 * positive.min():
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
        else:
            axis.set_ylim(0, 1.1 * max(positive.max(), 1e-9))
            axis.yaxis.set_major_locator(MaxNLocator(4))
        axis.grid(axis="y")
        for border in np.arange(len(data.groups) - 1) + 0.5:
            axis.axvline(border, color="#dddddd", linewidth=0.5)
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linewidth=1.3, markersize=3, markeredgewidth=0)
        for style in data.styles
    ]
    legend_below(figure, handles, data.labels)
    return figure


def caption(data: Collapse, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    without = f" Not drawn: {'; '.join(data.without)}." if data.without else ""
    return (
        "Neural collapse after the last epoch (Papyan, Han and Donoho 2020; 0: collapsed), over all classes and each shot group "
        "(many: more than 100 training images, few: fewer than 20), each class seen among all. NC1: covariance within classes "
        "against that of the class means, of the training features; NC2: mean distance of the cosines between centred class means "
        "from those of a simplex; NC3: squared distance between class means and the classifier's weights, both scaled; NC4: test "
        f"images for which the classifier does not choose the nearest class mean. Dots: runs; bars: their "
        f"mean.{without} {provenance(series)}"
    )
