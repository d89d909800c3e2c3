"""The paper's Fig. 1: how the classes lie to each other, for several seeds: prototypes against semantic anchors.

Features of two seeds differ by a rotation at least, so that no common axes exist in the feature space itself. What can be compared,
and what the figure is about, is how a class lies to the others: each class is drawn by its profile, the cosines of its centred
vector to those of the other classes. All sets of vectors share one projection and one pair of axes: a class whose relations are
the same in all seeds lies at one place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.metrics.agreement import gram_agreement
from sar_cls.metrics.dependency import inter_class_dependency
from sar_cls.metrics.separation import cosine_matrix
from sar_cls.reporting.figures.labels import listed, wrapped
from sar_cls.reporting.figures.projection import Projection, project
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.figures.style import COLOURS, GREY, HEADING, MARKERS, new_figure
from sar_cls.runs.features import Features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SEEDS = 3
FEW_CLASSES = 10
LEAST_ROOM = 0.06  # of the axes, between the numbers of two classes


@dataclass(frozen=True)
class Vectors:
    """One set of class vectors for each seed.

    Attributes:
        title: what they are.
        points: float [seeds, C, 2], in the common projection.
        dependency: float [seeds], mean inter-class dependency.
        agreement: mean agreement of the class geometry over the pairs of seeds; NaN for one seed, or where nothing can be
            correlated.
    """

    title: str
    points: np.ndarray
    dependency: np.ndarray
    agreement: float


@dataclass(frozen=True)
class ClassGeometry:
    """Sets of class vectors on the same axes.

    Attributes:
        seeds: of the runs.
        counts: int [C], training images of the classes that are drawn.
        classes: int [C], which those are.
        num_classes: how many there are in all.
        sets: prototypes without and with the regularizer, and its semantic anchors.
        projection: of all of them together.
        labels: of the row and, where it has one, its baseline.
    """

    seeds: tuple[int, ...]
    counts: np.ndarray
    classes: np.ndarray
    num_classes: int
    sets: tuple[Vectors, ...]
    projection: Projection
    labels: tuple[str, ...]


def rows_with_anchors(series: Sequence[Series]) -> list[Series]:
    """The entries whose runs have semantic anchors: a figure each."""
    return [entry for entry in series if all(run.semantic_anchors is not None for run in entry.features)]


def prepare(series: Sequence[Series]) -> ClassGeometry:
    """Prototypes and semantic anchors of the row ``series[0]``, and the prototypes of its baseline where that has features.

    Raises:
        NothingToDraw: an anchor was never set, or fewer than three classes have training images.
        InputError: the row and its baseline are of different classes.
    """
    entry = series[0]
    baseline = entry.baseline
    ours = dict(zip(entry.seeds or range(len(entry.run_dirs)), entry.features, strict=True))
    theirs: dict[int, Any] = {}
    if baseline is not None:
        try:
            theirs = dict(zip(baseline.seeds, baseline.features, strict=True))
        except InputError:
            baseline = None
    seeds = [seed for seed in ours if seed in theirs] or list(ours)
    seeds = [seed for seed in seeds if _all_set(ours[seed])][:MOST_SEEDS]
    if not seeds:
        raise NothingToDraw(
            f"the semantic anchors of {entry.label} are not all set: the gate did not open for every class"
        )
    anchors = [one for seed in seeds if (one := ours[seed].semantic_anchors) is not None]
    vectors = [
        (f"Prototypes, {entry.label}", [ours[seed].train_class_means for seed in seeds]),
        (f"Semantic anchors, {entry.label}", anchors),
    ]
    labels: tuple[str, ...] = (entry.label,)
    if baseline is not None and all(seed in theirs for seed in seeds):
        vectors.insert(0, (f"Prototypes, {baseline.label}", [theirs[seed].train_class_means for seed in seeds]))
        labels = (entry.label, baseline.label)
    counts = np.asarray(entry.train_counts)
    if any(len(one) != len(counts) for _, runs in vectors for one in runs):
        raise InputError(f"{entry.label} and its baseline are of different classes; draw them apart")
    kept = np.flatnonzero(~np.isnan(np.stack([one.sum(axis=1) for _, runs in vectors for one in runs])).any(axis=0))
    if len(kept) < 3:
        raise NothingToDraw(f"{len(kept)} classes of {entry.label} have training images, and three are needed")
    wide = [(title, [one[kept].astype(np.float64) for one in runs]) for title, runs in vectors]
    profiles = np.concatenate([profile(one) for _, runs in wide for one in runs])
    projection = project(profiles)
    points = projection.points.reshape(len(wide), len(seeds), len(kept), 2)
    sets = [
        Vectors(title, part, np.array([inter_class_dependency(one).mean() for one in runs]), _agreement(runs))
        for (title, runs), part in zip(wide, points, strict=True)
    ]
    known = tuple(seeds) if entry.seeds else ()
    return ClassGeometry(known, counts[kept], kept, len(counts), tuple(sets), projection, labels)


def _all_set(run: Features) -> bool:
    return run.semantic_anchors is not None and run.anchors_set is not None and bool(run.anchors_set.all())


def profile(vectors: np.ndarray) -> np.ndarray:
    """How each class lies to the others: cosines of the centred class vectors [C, D], float [C, C].

    In its own place a class has the mean of its row: its cosine to itself, which is 1 in every seed, would draw all sets together.
    """
    cosines = np.nan_to_num(
        cosine_matrix(vectors - vectors.mean(axis=0))
    )  # a class in the very middle has no direction
    np.fill_diagonal(cosines, 0.0)
    np.fill_diagonal(cosines, cosines.sum(axis=1) / (len(cosines) - 1))
    return cosines


def _agreement(runs: Sequence[np.ndarray]) -> float:
    values = [gram_agreement(one, other) for one, other in itertools.combinations(runs, 2)]
    return float(np.mean(values)) if values else float("nan")


def draw(data: ClassGeometry) -> Figure:
    """A panel for each set of vectors, and one for their inter-class dependency."""
    from matplotlib.lines import Line2D

    few = len(data.classes) <= FEW_CLASSES
    figure = new_figure(3.75 if few else 4.1)
    grid = list(figure.subplots(2, 2).flat)
    axes, last = grid[: len(data.sets)], grid[len(data.sets)]
    for axis in grid[len(data.sets) + 1 :]:
        axis.remove()
    colours = _colours(data)
    extent = np.maximum(np.ptp(data.projection.points, axis=0), 1e-9)
    for axis, vectors in zip(axes, data.sets, strict=True):
        named: list[
            np.ndarray
        ] = []  # places of the numbers so far: where classes lie on each other, one number is enough
        letter, kind, row = _letter(axes.index(axis)), *vectors.title.split(", ", 1)
        for index, colour in enumerate(colours):
            path = vectors.points[:, index]
            axis.plot(path[:, 0], path[:, 1], "-", color=colour, linewidth=0.5, alpha=0.7, zorder=1)
            for seed, point in enumerate(path):
                axis.plot(*point, MARKERS[seed], color=colour, markersize=3.4 if few else 2.2, markeredgewidth=0)
            spot = path[0] / extent
            if few and all(np.abs(spot - other).max() > LEAST_ROOM for other in named):
                named.append(spot)
                axis.annotate(
                    str(data.classes[index]), path[0], xytext=(2.5, 2), textcoords="offset points", fontsize=6, color=colour,
                )  # fmt: skip
        agreement = "" if np.isnan(vectors.agreement) else f"\nagreement {vectors.agreement:.2f}"
        axis.set_title(f"{letter} {kind}\n{wrapped(row, HEADING + 3)}{agreement}", fontsize=6.8)
        axis.set(xticks=[], yticks=[])
        axis.spines[["top", "right"]].set_visible(True)
    _same_limits(axes, np.concatenate([vectors.points.reshape(-1, 2) for vectors in data.sets]))
    for axis in axes[-2:]:
        axis.set_xlabel(data.projection.axes[0], labelpad=2)
    for axis in axes[::2]:
        axis.set_ylabel(data.projection.axes[1], labelpad=2)
    _draw_dependency(last, data)
    seeds = data.seeds or tuple(range(1, data.sets[0].points.shape[0] + 1))
    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[index], color=GREY, markeredgewidth=0)
        for index in range(len(seeds))
    ]
    figure.legend(
        handles, [f"seed {seed}" for seed in seeds], loc="outside lower center", ncols=3, handletextpad=0.0,
        columnspacing=1.0, borderaxespad=0.1,
    )  # fmt: skip
    if not few:
        _frequency_bar(figure, axes, data)
    return figure


def _letter(place: int) -> str:
    return f"({'abcd'[place]})"


def _colours(data: ClassGeometry) -> list[Any]:
    """A colour for each of a few classes, a scale of their frequency for many."""
    if len(data.classes) <= FEW_CLASSES:
        return [COLOURS[index % len(COLOURS)] for index in range(len(data.classes))]
    scale, norm = _scale(data)
    return [scale(norm(count)) for count in data.counts]


def _scale(data: ClassGeometry) -> tuple[Any, Any]:
    """Cividis, which looks alike to colour-blind readers, without its faint end; logarithmic for a tail."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    scale = ListedColormap(colormaps["cividis"](np.linspace(0.0, 0.88, 256)))
    low, high = data.counts.min(), data.counts.max()
    if low < high:
        return scale, LogNorm(low, high) if low > 0 and high > 5 * low else Normalize(low, high)
    return scale, Normalize(low - 1, high + 1)


def _same_limits(axes: Sequence[Axes], points: np.ndarray) -> None:
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.07 * np.maximum(high - low, 1e-9)
    for axis in axes:
        axis.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
        axis.set_box_aspect(1)


def _draw_dependency(axis: Axes, data: ClassGeometry) -> None:
    for place, vectors in enumerate(data.sets):
        for index, value in enumerate(vectors.dependency):
            shift = 0.14 * (index - (len(vectors.dependency) - 1) / 2)
            axis.plot(place + shift, value, MARKERS[index], color="black", markersize=3.4, markeredgewidth=0)
    axis.set_xticks(range(len(data.sets)), [_letter(place) for place in range(len(data.sets))])
    axis.set(xlim=(-0.5, len(data.sets) - 0.5))
    axis.set_title(f"{_letter(len(data.sets))} Inter-class\ndependency", fontsize=6.8)
    axis.set_ylim(0, 1.12 * max(vectors.dependency.max() for vectors in data.sets) or 1.0)
    axis.grid(axis="y")
    axis.set_box_aspect(1)


def _frequency_bar(figure: Figure, axes: Sequence[Axes], data: ClassGeometry) -> None:
    """What the colours mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import NullFormatter

    scale, norm = _scale(data)
    bar = figure.colorbar(
        ScalarMappable(norm, scale), ax=figure.axes, location="bottom", shrink=0.7, aspect=45, pad=0.02
    )
    bar.set_label("Training images of the class", labelpad=1)
    low, high = int(data.counts.min()), int(data.counts.max())
    ticks = sorted({low, *[tick for tick in (10, 20, 50, 100, 200) if low * 1.3 < tick < high / 1.3], high})
    bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)


def caption(data: ClassGeometry, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    entry = series[0]
    seeds = f"seeds {', '.join(map(str, data.seeds))}" if data.seeds else f"{data.sets[0].points.shape[0]} runs"
    left_out = data.num_classes - len(data.classes)
    without = f" {left_out} of {data.num_classes} classes without training images are left out." if left_out else ""
    colours = (
        "colours and numbers: classes" if len(data.classes) <= FEW_CLASSES else "colours: training images of the class"
    )
    details = f" {'; '.join(entry.details)}." if entry.details else ""
    numbers = listed([
        f"{vectors.title} {vectors.dependency.mean():.3f}"
        + (f" ({vectors.dependency.min():.3f} to {vectors.dependency.max():.3f})" if len(vectors.dependency) > 1 else "")
        for vectors in data.sets
    ])  # fmt: skip
    return (
        "How the classes lie to each other: prototypes (means of the training features of a class) and semantic anchors after the "
        f"last epoch, {listed(data.labels)}, {seeds}, on the same axes. A class is drawn by its profile, the cosines of its "
        "centred vector to those of the other classes, which no rotation of the features changes; all profiles are laid out by "
        f"{data.projection.method}. Shapes: seeds, joined by a line for each class; {colours}. Agreement: correlation of the "
        "class geometries between seeds (entries of the centred Gram matrices), mean over the pairs. Inter-class dependency, mean "
        f"over the classes of what softmax(P P' / sqrt(D)) gives to other classes: {numbers}.{without}{details}"
    )
