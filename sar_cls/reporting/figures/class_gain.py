"""What each class gains over the baseline, against its frequency, with the shot groups' gains and their intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.reporting.figures.class_accuracy import MANY_CLASSES
from sar_cls.reporting.figures.labels import listed, names, provenance, wrapped
from sar_cls.reporting.figures.series import NothingToDraw, Series, same_classes
from sar_cls.reporting.figures.style import GREY, HEADING, RowStyle, leftmost, legend_below, lowest, panels
from sar_cls.reporting.stats import PairedDifference, paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Below this ratio of the most to the least frequent class there is no long tail to speak of.
LEAST_IMBALANCE = 2.0
_GROUPS = {"few_shot": "few", "medium_shot": "medium", "many_shot": "many"}


@dataclass(frozen=True)
class Gain:
    """What a row gains over its baseline in each class.

    Attributes:
        label: of the row.
        baseline: label of the row it is compared with.
        style: of the row.
        classes: float [C], mean difference over the paired seeds in points; NaN for a class without a test image.
        groups: shot group -> mean difference of its classes, with its interval over the paired seeds.
    """

    label: str
    baseline: str
    style: RowStyle
    classes: np.ndarray
    groups: dict[str, PairedDifference]


@dataclass(frozen=True)
class Gains:
    """Of the rows of a figure.

    Attributes:
        counts: int [C], training images.
        shots: shot group -> its classes.
        gains: a row each.
    """

    counts: np.ndarray
    shots: dict[str, np.ndarray]
    gains: tuple[Gain, ...]


def prepare(series: Sequence[Series]) -> Gains:
    """Differences in accuracy between each row and its baseline, by paired seeds.

    Raises:
        NothingToDraw: no row has a baseline with common seeds, the classes are about equally frequent, or one has no images.
        InputError: rows of different numbers of classes.
    """
    from sar_cls.metrics import shot_groups  # imports torch

    counts = same_classes(series)
    if counts.min() < 1:
        raise NothingToDraw("a class has no training images")
    if counts.max() < LEAST_IMBALANCE * counts.min():
        raise NothingToDraw("the classes are about equally frequent")
    shots = {name: classes for name, classes in shot_groups(counts).items() if len(classes)}
    found = []
    for entry, label in zip(series, names(series, with_runs=False)[0], strict=True):
        gain = _gain(entry, label, shots)
        found += [] if gain is None else [gain]
    if not found:
        raise NothingToDraw("no row has a baseline with runs of the same seeds")
    return Gains(counts, shots, tuple(found))


def _gain(entry: Series, label: str, shots: dict[str, np.ndarray]) -> Gain | None:
    if entry.baseline is None:
        return None
    ours = dict(zip(entry.seeds, entry.class_accuracies, strict=True))
    theirs = dict(zip(entry.baseline.seeds, entry.baseline.class_accuracies, strict=True))
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    groups = {
        name: paired_difference(
            {seed: float(np.nanmean(ours[seed][classes])) for seed in common},
            {seed: float(np.nanmean(theirs[seed][classes])) for seed in common},
        )
        for name, classes in shots.items()
        if not np.isnan(ours[common[0]][classes]).all()
    }
    classes = np.mean([ours[seed] - theirs[seed] for seed in common], axis=0)
    return Gain(label, entry.baseline.label, entry.style, classes, groups)


def draw(data: Gains) -> Figure:
    """A panel for each row: a dot for each class, a bar with its interval for each shot group."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    wide = len(data.gains) == 1
    lines = max(wrapped(gain.label, HEADING).count("\n") for gain in data.gains) + 1
    figure, axes = panels(len(data.gains), 1.9 if wide else 1.35 + 0.115 * lines, extra=0.45, sharex=True, sharey=True)
    least, most = data.counts.min() / 1.25, data.counts.max() * 1.25
    for axis, gain in zip(axes, data.gains, strict=True):
        axis.axhline(0, color="black", linewidth=0.6)
        axis.plot(
            data.counts, gain.classes, gain.style.marker, color=gain.style.color, markersize=_dot(data),
            alpha=0.45, markeredgewidth=0,
        )  # fmt: skip
        for name, difference in gain.groups.items():
            counts = data.counts[data.shots[name]]
            ends = [counts.min() / 1.08, counts.max() * 1.08]
            if difference.mean is None:
                continue
            if difference.low is not None and difference.high is not None:
                axis.fill_between(
                    ends, difference.low, difference.high, color=gain.style.color, alpha=0.22, linewidth=0
                )
            axis.plot(ends, [difference.mean] * 2, color=gain.style.color, linewidth=1.8, solid_capstyle="butt")
        if not wide:
            axis.set_title(wrapped(gain.label, HEADING))
        axis.set_xscale("log")
        axis.set_xlim(least, most)
        axis.grid()
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        ticks = _ticks(int(data.counts.min()), int(data.counts.max()))
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        _name_groups(axis, data)
    for axis in lowest(axes):
        axis.set_xlabel("Training images of the class" if wide else "Training images")
    for axis in leftmost(axes):
        axis.set_ylabel("Gain in accuracy\n(points)")
    neutral: dict[str, Any] = {"color": "black"}
    handles: list[Any] = [
        Line2D([], [], linestyle="", marker="o", markersize=_dot(data), alpha=0.45, markeredgewidth=0, **neutral),
        Line2D([], [], linewidth=1.8, **neutral),
    ]
    labels = ["a class", "shot group"]
    if any(difference.low is not None for gain in data.gains for difference in gain.groups.values()):
        handles.append(Patch(alpha=0.22, linewidth=0, **neutral))
        labels.append("95 % interval")
    legend_below(figure, handles, labels)
    return figure


def _dot(data: Gains) -> float:
    return 2.0 if len(data.counts) > MANY_CLASSES else 3.5


def _ticks(least: int, most: int) -> list[int]:
    """Round numbers of training images, few enough for a narrow axis of a logarithm."""
    steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000]
    inside = [step for step in steps if least <= step <= most]
    if len(inside) > 4:
        inside = [step for step in inside if str(step)[0] == "1"] or inside
    return inside if len(inside) > 1 else [least, most]


def _name_groups(axis: Axes, data: Gains) -> None:
    """The shot groups' names along the top, a thin line between two of them."""
    if len(data.shots) < 2:
        return
    limits = {name: (data.counts[classes].min(), data.counts[classes].max()) for name, classes in data.shots.items()}
    order = sorted(limits, key=lambda name: limits[name][0])
    for one, other in itertools.pairwise(order):
        axis.axvline(math.sqrt(limits[one][1] * limits[other][0]), color=GREY, linewidth=0.5, linestyle=":")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.13 * (high - low))
    for name in order:
        axis.text(
            math.sqrt(limits[name][0] * limits[name][1]), 0.99, _GROUPS.get(name, name), fontsize=6, color=GREY,
            transform=axis.get_xaxis_transform(), ha="center", va="top",
        )  # fmt: skip


def caption(data: Gains, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    baselines = list(dict.fromkeys(gain.baseline for gain in data.gains))
    against = baselines[0] if len(baselines) == 1 else f"its baseline ({listed(baselines)})"
    interval = any(difference.low is not None for gain in data.gains for difference in gain.groups.values())
    bands = (
        "; bands: its 95 % interval over paired seeds (Student's t)"
        if interval
        else "; one pair of seeds, so no interval"
    )
    labels = {gain.label for gain in data.gains}
    shown = [entry for entry, label in zip(series, names(series, with_runs=False)[0], strict=True) if label in labels]
    rows = f" {listed([gain.label for gain in data.gains])}." if len(data.gains) == 1 else ""
    return (
        f"Gain in test accuracy of each class over {against}, in points, against the class's training images.{rows} Dots: classes, "
        "mean over paired seeds; bars: mean over the classes of a shot group (many: more than 100 training images, few: fewer than "
        f"20){bands}. {provenance(shown)}"
    )
