"""Accuracy of each class, over the classes from the most to the least frequent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.reporting.figures.labels import names, provenance
from sar_cls.reporting.figures.series import Series, same_classes
from sar_cls.reporting.figures.style import RowStyle, legend_below, legend_height, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY_CLASSES = 30


@dataclass(frozen=True)
class Accuracies:
    """Accuracy of each class of some rows.

    Attributes:
        counts: int [C], training images, falling.
        rows: label, style and mean accuracy [C] in percent of each row, in the order of ``counts``.
    """

    counts: np.ndarray
    rows: tuple[tuple[str, RowStyle, np.ndarray], ...]


def prepare(series: Sequence[Series]) -> Accuracies:
    """Mean accuracy over the runs of each row.

    Raises:
        InputError: rows of different numbers of classes.
    """
    counts = same_classes(series)
    order = np.argsort(-counts, kind="stable")
    labels = names(series)[0]
    rows = [
        (label, entry.style, np.mean(entry.class_accuracies, axis=0)[order])
        for entry, label in zip(series, labels, strict=True)
    ]
    return Accuracies(counts[order], tuple(rows))


def draw(data: Accuracies) -> Figure:
    """Accuracy of each class, classes sorted from the most to the least frequent; above it, their training images."""
    rank = np.arange(1, len(data.counts) + 1)
    figure = new_figure(2.7 + legend_height([label for label, _, _ in data.rows]))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3.2])
    top.bar(rank, data.counts, width=1.0, color="#bbbbbb")
    top.set_ylabel("Training\nimages")
    least, most = int(data.counts.min()), int(data.counts.max())
    if least > 0 and most > 5 * least:
        top.set_yscale("log")
        top.set_ylim(least / 1.5, most * 1.3)
        ticks = sorted({least, round(math.sqrt(least * most)), most})
        top.set_yticks(ticks, [str(tick) for tick in ticks])
        top.minorticks_off()
    else:
        top.set_ylim(0, 1.15 * most)
    many = len(rank) > MANY_CLASSES
    for label, style, accuracy in data.rows:
        if many:
            bottom.plot(rank, accuracy, ".", color=style.color, markersize=3, alpha=0.3, markeredgewidth=0)
            bottom.plot(rank, running_mean(accuracy, len(rank) // 10), **style.line, label=label)
        else:
            bottom.plot(rank, accuracy, **style.line, marker=style.marker, label=label)
    bottom.set(xlabel="Class, from the most to the least frequent", ylabel="Test accuracy (%)", ylim=(-3, 103))
    bottom.set_yticks(range(0, 101, 25))
    if not many:
        bottom.set_xticks(rank)
    bottom.grid()
    figure.align_ylabels([top, bottom])
    legend_below(figure, *bottom.get_legend_handles_labels())
    return figure


def caption(data: Accuracies, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    means = "Mean over the runs of a row. " if any(len(entry.run_dirs) > 1 for entry in series) else ""
    dots = f"Dots: classes; lines: running mean over {len(data.counts) // 10} classes. "
    return (
        "Accuracy of each class on the test images after the last epoch, classes from the most to the least frequent (below), and "
        f"their training images (above). {dots if len(data.counts) > MANY_CLASSES else ''}{means}{provenance(series)}"
    )


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over those of ``window`` neighbours that are known, fewer at both ends; NaN where none is."""
    kernel, known = np.ones(window), np.isfinite(values)
    number = np.convolve(known.astype(float), kernel, "same").round()  # round: another order of adding may leave 1e-16
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")
    return np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
