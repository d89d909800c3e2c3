"""The paper's Fig. 3: features of test images in a plane, with and without SAR, of the same classes and with one random state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.reporting.figures.labels import names, wrapped
from sar_cls.reporting.figures.projection import Projection, project
from sar_cls.reporting.figures.series import Series, same_classes
from sar_cls.reporting.figures.style import COLOURS, HEADING, MARKERS, legend_below, legend_height, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES, FEWER_CLASSES = 10, 9
IMAGES_OF_A_CLASS = 100


@dataclass(frozen=True)
class Panel:
    """Features of one run.

    Attributes:
        label: of the row.
        seed: of the run; None where it is not known.
        projection: of n images.
        labels: int [n], their classes.
        silhouette: mean silhouette of the images in the space of the features (Rousseeuw 1987), from -1 to 1.
    """

    label: str
    seed: int | None
    projection: Projection
    labels: np.ndarray
    silhouette: float


@dataclass(frozen=True)
class FeatureMap:
    """Panels of the same classes.

    Attributes:
        classes: int [k], from the most to the least frequent.
        titles: their names, or their numbers where those are not known.
        counts: their training images.
        panels: a row each.
    """

    classes: np.ndarray
    titles: tuple[str, ...]
    counts: tuple[int, ...]
    panels: tuple[Panel, ...]


def chosen_classes(counts: np.ndarray) -> np.ndarray:
    """Which classes are drawn: all up to ten, else nine from the most to the least frequent, in equal steps."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    if len(order) <= MOST_CLASSES:
        return order
    return order[np.linspace(0, len(order) - 1, FEWER_CLASSES).round().astype(int)]


def prepare(series: Sequence[Series]) -> FeatureMap:
    """Features of one run of each row, of a seed that all rows have where there is one.

    Raises:
        InputError: rows of different numbers of classes.
    """
    counts = same_classes(series)
    classes = chosen_classes(counts)
    seeds = [seed for seed in series[0].seeds if all(seed in entry.seeds for entry in series)]
    found = []
    for entry, label in zip(series, names(series, with_runs=False)[0], strict=True):
        index = entry.seeds.index(seeds[0]) if seeds else 0
        features = entry.features[index]
        rows = np.concatenate([np.flatnonzero(features.test_labels == label)[:IMAGES_OF_A_CLASS] for label in classes])
        vectors, labels = features.test_features[rows], features.test_labels[rows]
        projection = project(vectors)
        seed = entry.seeds[index] if entry.seeds else None
        found.append(Panel(label, seed, projection, labels, silhouette(vectors, labels)))
    return FeatureMap(classes, _titles(series, classes), tuple(int(n) for n in counts[classes]), tuple(found))


def silhouette(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of vectors [n, D] with their classes; NaN where there are not enough of them."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(np.asarray(vectors, dtype=np.float64), labels))


def _titles(series: Sequence[Series], classes: np.ndarray) -> tuple[str, ...]:
    """Names of the classes, as far as a row's test outputs have them."""
    from sar_cls.errors import InputError

    for entry in series:
        try:
            known = entry.outputs[0].classes
        except InputError:
            continue
        if known is not None and len(known) > classes.max():
            return tuple(str(known[label]) for label in classes)
    return tuple(f"class {label}" for label in classes)


def draw(data: FeatureMap) -> Figure:
    """A panel for each row, without scales: in a map of neighbourhoods lengths mean nothing."""
    lines = max(wrapped(panel.label, HEADING).count("\n") for panel in data.panels) + 2
    tail = max(data.counts) >= 2 * min(data.counts)
    titles = [f"{title} ({count})" if tail else title for title, count in zip(data.titles, data.counts, strict=True)]
    figure, axes = panels(len(data.panels), 1.62 + 0.115 * lines, extra=legend_height(titles) + 0.05)
    number = len(data.classes)
    for axis, panel in zip(axes, data.panels, strict=True):
        handles = []
        for index, label in enumerate(data.classes):
            points = panel.projection.points[panel.labels == label]
            (dots,) = axis.plot(
                points[:, 0], points[:, 1], MARKERS[index * 3 // number], color=COLOURS[index % len(COLOURS)],
                markersize=2.2, alpha=0.7, markeredgewidth=0,
            )  # fmt: skip
            handles.append(dots)
        score = "" if np.isnan(panel.silhouette) else f"\nsilhouette {panel.silhouette:.2f}"
        axis.set_title(f"{wrapped(panel.label, HEADING)}{score}")
        axis.set(xticks=[], yticks=[], xlabel=panel.projection.axes[0], ylabel=panel.projection.axes[1])
        axis.spines[["top", "right"]].set_visible(True)
    legend_below(figure, handles, titles, markerscale=1.8, handletextpad=0.1)
    return figure


def caption(data: FeatureMap, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    seeds = {panel.seed for panel in data.panels}
    seed = f", seed {next(iter(seeds))}" if len(seeds) == 1 and None not in seeds else ""
    every = "all classes" if len(data.classes) == len(series[0].train_counts) else (
        f"{len(data.classes)} of {len(series[0].train_counts)} classes, from the most to the least frequent in equal steps"
    )  # fmt: skip
    tail = "; in brackets their training images" if max(data.counts) >= 2 * min(data.counts) else ""
    remark = names(series, with_runs=False)[1]
    return (
        f"Features of test images (at most {IMAGES_OF_A_CLASS} of a class) after the last epoch, of one run of each row{seed}: "
        f"{every}{tail}. Each panel is laid out by itself, all in the same way: {data.panels[0].projection.method}. Silhouette: "
        f"mean over the images shown, computed in the space of the features.{f' {remark}.' if remark else ''}"
    )
