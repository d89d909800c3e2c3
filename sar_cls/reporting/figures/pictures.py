"""Draws one picture of some runs: reliability diagram (Guo et al. 2017, Fig. 1), accuracy per class over the classes' frequency,
accuracy over epochs, and what regularizers say of themselves over epochs. Needs matplotlib (the extra ``viz``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.figures.qualitative import qualitative_figure
from sar_cls.reporting.figures.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind readers; without the yellow, which is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
LEAST_SPAN = 2.0  # percentage points
_NUM_BINS = 15
_LEGEND: dict[str, Any] = {"loc": "outside upper center", "fontsize": 8, "title_fontsize": 8, "frameon": False}


def reliability_diagram(series: Sequence[Series]) -> Figure:
    """Accuracy over confidence in 15 bins, a panel for each entry; the test images of all its seeds are pooled."""
    from sar_cls.metrics import reliability_bins  # imports torch

    lines = math.ceil(len(series) / 4)
    columns = math.ceil(len(series) / lines)
    figure = _figure(max(5.0, 3.1 * columns + 0.3), 3.3 * lines + 0.9)
    axes = figure.subplots(lines, columns, squeeze=False)
    labels, caption = names(series, with_runs=False)
    for axis, entry, label in zip(axes.flat, series, labels, strict=False):
        logits = np.concatenate([output.logits for output in entry.outputs])
        bins = reliability_bins(logits, np.concatenate([output.labels for output in entry.outputs]), _NUM_BINS)
        centres, width = 100 * (bins["edges"][:-1] + bins["edges"][1:]) / 2, 100 / _NUM_BINS
        full = bins["count"] > 0
        gap = bins["confidence"] - bins["accuracy"]
        error = np.sum(np.abs(gap[full]) * bins["count"][full]) / bins["count"].sum()
        axis.bar(centres[full], bins["accuracy"][full], width, color=COLOURS[4], edgecolor="white", label="accuracy")
        axis.bar(
            centres[full], gap[full], width, bottom=bins["accuracy"][full], facecolor="none", edgecolor=COLOURS[1],
            hatch="///", linewidth=0.8, label="gap to confidence",
        )  # fmt: skip
        axis.plot([0, 100], [0, 100], color="black", linestyle="--", linewidth=1, label="perfect calibration")
        pooled = " pooled" if len(entry.outputs) > 1 else ""
        axis.set_title(f"{_wrapped(label)}\nECE {error:.2f} %, {_runs(entry)}{pooled}", fontsize=9)
        axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    for axis in axes.flat[len(series) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(series) - columns) : len(series)]:  # the lowest of each column
        axis.set_xlabel("Confidence (%)")
    for axis in axes[:, 0]:
        axis.set_ylabel("Accuracy (%)")
    handles, meanings = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, meanings, title=caption or None, ncols=3, **_LEGEND)
    return figure


def per_class_plot(series: Sequence[Series]) -> Figure:
    """Accuracy of each class, classes sorted from the most to the least frequent; above it, their training images."""
    counts = np.asarray(series[0].train_counts)
    order = np.argsort(-counts, kind="stable")
    rank = np.arange(1, len(counts) + 1)
    figure = _figure(8.0, 5.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    top.bar(rank, counts[order], width=1.0, color="#bbbbbb")
    top.set_ylabel("Training\nimages")
    if counts.min() > 0 and counts.max() > 5 * counts.min():
        top.set_yscale("log")
        top.set_ylim(counts.min() / 1.5, counts.max() * 1.3)
        ticks = sorted({int(counts.min()), round(math.sqrt(counts.min() * counts.max())), int(counts.max())})
        top.set_yticks(ticks, [str(tick) for tick in ticks])
        top.minorticks_off()
    else:
        top.set_ylim(0, 1.15 * counts.max())
    many = len(counts) > 30
    labels, caption = names(series)
    for entry, label, style in zip(series, labels, _styles(len(series)), strict=True):
        if len(entry.train_counts) != len(counts):
            raise InputError(
                f"{entry.label} has {len(entry.train_counts)} classes, the others {len(counts)}; draw them apart"
            )
        accuracy = np.mean(entry.class_accuracies, axis=0)[order]
        if many:
            bottom.plot(rank, accuracy, ".", color=style["color"], markersize=3, alpha=0.35)
            bottom.plot(rank, _running_mean(accuracy, len(counts) // 10), **style, label=label)
        else:
            bottom.plot(rank, accuracy, **style, marker="o", markersize=4, label=label)
    bottom.set(xlabel="Class, from the most to the least frequent", ylabel="Test accuracy (%)", ylim=(-3, 103))
    if many:
        bottom.set_title(f"Dots: classes; lines: running mean over {len(counts) // 10} classes", fontsize=8, loc="left")
    else:
        bottom.set_xticks(rank)
    bottom.grid(alpha=0.3)
    _legend_above(figure, bottom, caption)
    return figure


def examples_picture(series: Sequence[Series]) -> Figure | None:
    """Test images with what the first run of each row makes of them (Fig. 4)."""
    labels, _ = names(series)
    entries = [(label, entry.dense_outputs[0]) for label, entry in zip(labels, series, strict=True)]
    return qualitative_figure(entries)


def epochs_plot(series: Sequence[Series]) -> Figure:
    """Test accuracy over epochs, or mIoU over the evaluations of segmentation nets.

    Mean over the seeds, and the range between the worst and the best of them.
    """
    figure = _figure(8.0, 4.4)
    axis = figure.subplots()
    columns = series[0].histories[0].columns
    column = next((name for name in ("test_top1", "val_miou", "test_miou") if name in columns), "test_top1")
    labels, caption = names(series)
    for entry, label, style in zip(series, labels, _styles(len(series)), strict=True):
        _band(axis, entry, label, column, style)
    axis.set(xlabel="Epoch", ylabel="Test accuracy, top-1 (%)")
    if column != "test_top1":
        axis.set(xlabel="Evaluation", ylabel=f"mIoU, {'validation' if column == 'val_miou' else 'test'} set (%)")
    _epochs_axis(axis, series)
    _at_least(axis, LEAST_SPAN)
    axis.grid(alpha=0.3)
    _legend_above(figure, axis, caption)
    return figure


def readings_plot(series: Sequence[Series]) -> Figure | None:
    """What the regularizers have to say of themselves, over epochs; None where no entry has a reading that is drawn."""
    from sar_cls.regularizers import REGULARIZERS  # imports torch

    drawn = {
        reading.name: reading.title for kind in REGULARIZERS.values() for reading in kind.readings if reading.title
    }
    shown = [entry for entry in series if set(drawn) & set(entry.histories[0].columns)]
    panels = {
        name: title for name, title in drawn.items() if any(name in entry.histories[0].columns for entry in shown)
    }
    if not shown:
        return None
    figure = _figure(max(4.0, 10.0 * len(panels) / 3), 3.8)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    labels, caption = names(shown)
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        for entry, label, style in zip(shown, labels, _styles(len(shown)), strict=True):
            if column in entry.histories[0].columns:
                _band(axis, entry, label, column, style, scale=100)
        _epochs_axis(axis, shown)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="Epoch", ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("Share (%)")
    _legend_above(figure, axes[0], caption)
    return figure


def names(series: Sequence[Series], with_runs: bool = True) -> tuple[list[str], str]:
    """What the entries of a picture are called: each by what tells it from the others, and a caption of what all share.

    Args:
        series: the entries of the picture.
        with_runs: whether the number of runs is said too.

    Returns:
        A label for each entry, and the caption; it is empty where there is nothing to say.
    """
    details = [[_short(detail) for detail in entry.details] for entry in series]
    runs = [_runs(entry) for entry in series] if with_runs else [""] * len(series)
    shared = [detail for detail in details[0] if all(detail in others for others in details)]
    labels = []
    for entry, own, number in zip(series, details, runs, strict=True):
        more = [detail for detail in own if detail not in shared] + ([number] if len(set(runs)) > 1 else [])
        labels.append(entry.label + (f" ({', '.join(more)})" if more else ""))
    if with_runs and len(set(runs)) == 1:
        shared.append(runs[0] + (" each" if len(series) > 1 else ""))
    return labels, ", ".join(shared)


def _short(detail: str) -> str:
    """A detail without the hashes of weights: tables and records have them."""
    return re.sub(r"([-_][0-9a-f]{8})+$", "", detail)


def _band(axis: Axes, entry: Series, label: str, column: str, style: Mapping[str, Any], scale: float = 1.0) -> None:
    histories = entry.histories
    if any(column not in history.columns for history in histories):
        raise InputError(f"the history of {entry.label} has no column {column!r}; run this row again")
    length = min(len(history) for history in histories)
    epochs = histories[0]["epoch"].to_numpy()[:length]
    values = scale * np.stack([history[column].to_numpy(dtype=float)[:length] for history in histories])
    marker: dict[str, Any] = {"marker": "o", "markersize": 3 if length > 1 else 5} if length < 10 else {}
    axis.plot(epochs, values.mean(axis=0), **style, **marker, label=label)
    if len(values) > 1 and length > 1:
        axis.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
    elif len(values) > 1:  # a band of one epoch has no width
        axis.vlines(epochs, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.4, linewidth=3)


def _epochs_axis(axis: Axes, series: Sequence[Series]) -> None:
    """Whole epochs alone as ticks, and room around a single one."""
    from matplotlib.ticker import MaxNLocator

    epochs = [epoch for entry in series for history in entry.histories for epoch in history["epoch"]]
    if min(epochs) == max(epochs):
        axis.set(xlim=(epochs[0] - 1, epochs[0] + 1), xticks=[epochs[0]])
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _at_least(axis: Axes, span: float) -> None:
    """Widens the vertical axis to ``span`` percentage points, so that small differences look small; within 0 and 100."""
    low, high = axis.get_ylim()
    missing = span - (high - low)
    if missing > 0:
        low = min(max(0.0, low - missing / 2), 100.0 - span)
        axis.set_ylim(low, low + span)


def _styles(number: int) -> list[dict[str, Any]]:
    """Colours, each with its own line style, so that no two entries differ by colour alone."""
    return [
        {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
            "linewidth": 1.7,
        }
        for index in range(number)
    ]


def _legend_above(figure: Figure, axis: Axes, caption: str) -> None:
    """The legend outside the axes, where it hides nothing; its title says what holds for all entries."""
    handles, labels = axis.get_legend_handles_labels()
    longest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int(105 / (longest + 8))))
    figure.legend(handles, labels, title=caption or None, ncols=columns, handlelength=3, **_LEGEND)


def _runs(entry: Series) -> str:
    return f"{len(entry.run_dirs)} run{'s' if len(entry.run_dirs) > 1 else ''}"


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over ``window`` neighbours, fewer at both ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def _wrapped(text: str, width: int = 34) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _figure(width: float, height: float) -> Figure:
    """A figure of its own, apart from pyplot's global state; sizes in inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("plots need matplotlib; install it with: pip install 'sar-cls[viz]'") from error
