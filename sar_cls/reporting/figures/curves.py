"""Curves over training: accuracy and loss, and what regularizers say of themselves (SAR's gate)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.figures.labels import names, provenance, wrapped
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.figures.style import RowStyle, legend_below, legend_height, new_figure
from sar_cls.reporting.readings import drawn_readings
from sar_cls.runs.folder import HISTORY_FILE, again
from sar_cls.runs.history import unit_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The classification loss of a classifier, and of a segmentation net's decode head.
_LOSSES = ("loss_ce", "decode.loss_ce")
LEAST_SPAN = 2.0  # percentage points


@dataclass(frozen=True)
class Curve:
    """One row's values over epochs, or over the iterations of a recipe without epochs.

    Attributes:
        label: of the row.
        style: of the row.
        places: the epochs or iterations, int [E].
        values: float [runs, E].
        unit: what ``places`` counts.
    """

    label: str
    style: RowStyle
    places: np.ndarray
    values: np.ndarray
    unit: str = "epoch"


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis.

    Attributes:
        title: of the vertical axis.
        curves: a row each.
        limits: of the vertical axis; None for what the values need.
        least_span: smallest span of the vertical axis, so that small differences look small.
    """

    title: str
    curves: tuple[Curve, ...]
    limits: tuple[float, float] | None = None
    least_span: float = 0.0


def prepare_training(series: Sequence[Series]) -> list[Panel]:
    """Test accuracy and the classification loss of the training images.

    Raises:
        InputError: a history lacks one of them.
    """
    labels = names(series)[0]
    column, title = _accuracy(series)
    accuracy = [_curve(entry, label, column) for entry, label in zip(series, labels, strict=True)]
    # With a regularizer `loss` is the sum of all terms, and rows would not be comparable; older histories have no `loss_ce`.
    losses = [
        _curve(
            entry,
            label,
            next(
                (name for name in _LOSSES if all(name in history.columns for history in entry.histories)),
                "loss",
            ),
        )
        for entry, label in zip(series, labels, strict=True)
    ]
    return [
        Panel(title, tuple(accuracy), least_span=LEAST_SPAN),
        Panel("Training loss", tuple(losses)),
    ]


def _accuracy(series: Sequence[Series]) -> tuple[str, str]:
    """The column of the history that says how good a net is, and the title of its axis."""
    known = {"test_top1": "Test accuracy (%)", "val_miou": "Validation mIoU (%)", "test_miou": "Test mIoU (%)"}
    histories = [history for entry in series for history in entry.histories]
    shared = (name for name in known if all(name in history.columns for history in histories))
    column = next(shared, "test_top1")
    return column, known[column]


def prepare_readings(series: Sequence[Series]) -> list[Panel]:
    """What the regularizers of the rows say of themselves, a panel for each reading that is drawn, in percent.

    Raises:
        NothingToDraw: no row has a reading.
    """
    drawn = {reading.name: reading.title for reading in drawn_readings()}
    shown = with_readings(series, drawn)
    if not shown:
        raise NothingToDraw("no row has a regularizer that says anything of itself (SAR has a gate)")
    labels = names(shown)[0]
    found = []
    for name, title in drawn.items():
        curves = [
            _curve(entry, label, name, scale=100)
            for entry, label in zip(shown, labels, strict=True)
            if name in entry.histories[0].columns
        ]
        found += [Panel(f"{title} (%)", tuple(curves), (-4, 104))] if curves else []
    return found


def with_readings(series: Sequence[Series], drawn: Sequence[str] | dict[str, str] | None = None) -> list[Series]:
    """The entries of which a reading is known."""
    if drawn is None:
        drawn = [reading.name for reading in drawn_readings()]
    return [entry for entry in series if set(drawn) & set(entry.histories[0].columns)]


def draw(data: Sequence[Panel]) -> Figure:
    """The panels below each other, over one axis of epochs or iterations."""
    labels = list(dict.fromkeys(curve.label for panel in data for curve in panel.curves))
    height = 1.15 if len(data) > 2 else 1.45
    figure = new_figure(height * len(data) + 0.25 + legend_height(labels))
    axes = list(figure.subplots(len(data), 1, sharex=True, squeeze=False)[:, 0])
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes, data, strict=True):
        for curve in panel.curves:
            line = _band(axis, curve)
            handles.setdefault(curve.label, line)
        axis.set_ylabel(wrapped(panel.title, 20 if height > 1.2 else 17))
        axis.grid()
        if panel.limits is not None:
            axis.set(ylim=panel.limits, yticks=range(0, 101, 25))
        _at_least(axis, panel.least_span)
    axes[-1].set_xlabel(data[0].curves[0].unit.capitalize())
    _whole_numbers(axes[-1], [curve.places for panel in data for curve in panel.curves])
    figure.align_ylabels(axes)
    legend_below(figure, list(handles.values()), list(handles))
    return figure


def caption_training(data: Sequence[Panel], series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    column, _ = _accuracy(series)
    what = "top-1 accuracy of the test images"
    if column != "test_top1":
        what = f"mean IoU on the {'validation' if column == 'val_miou' else 'test'} images"
    over = f"{data[0].curves[0].unit}s"
    return (
        f"Training curves: {what} (above) and classification loss of the training images, without the "
        f"terms of regularizers (below), over {over}. {_bands(series)}{provenance(series)}"
    )


def caption_readings(data: Sequence[Panel], series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    shown = with_readings(series)
    titles = "; ".join(panel.title.removesuffix(" (%)") for panel in data)
    steps = "the steps of an epoch" if data[0].curves[0].unit == "epoch" else "the iterations between two evaluations"
    what = f"What the regularizer says of itself, in the mean over {steps}"
    return f"{what}: {titles}. {_bands(shown)}{provenance(shown)}"


def _bands(series: Sequence[Series]) -> str:
    several = any(len(entry.run_dirs) > 1 for entry in series)
    return "Lines: mean over the runs; bands: from the lowest to the highest of them. " if several else ""


def _curve(entry: Series, label: str, column: str, scale: float = 1.0) -> Curve:
    histories: list[pd.DataFrame] = entry.histories
    for run_dir, history in zip(entry.run_dirs, histories, strict=True):
        if column not in history.columns:
            raise InputError(f"{run_dir / HISTORY_FILE} has no column {column!r}; {again(run_dir)}")
    length = min(len(history) for history in histories)
    unit = unit_of(histories)
    for run_dir, history in zip(entry.run_dirs, histories, strict=True):
        for name in (unit, column):
            if history[name].dtype.kind not in "iuf":
                path = run_dir / HISTORY_FILE
                raise InputError(f"{path} is damaged (not all of {name!r} are numbers); {again(run_dir)}")
    places = histories[0][unit].to_numpy()[:length]
    values = scale * np.stack([history[column].to_numpy(dtype=float)[:length] for history in histories])
    return Curve(label, entry.style, places, values, unit)


def _band(axis: Axes, curve: Curve) -> Any:
    """Mean of the runs, and the range between the lowest and the highest of them."""
    few: dict[str, Any] = {"marker": curve.style.marker} if len(curve.places) < 12 else {}
    (line,) = axis.plot(curve.places, curve.values.mean(axis=0), label=curve.label, **curve.style.line, **few)
    low, high = curve.values.min(axis=0), curve.values.max(axis=0)
    if len(curve.values) > 1 and len(curve.places) > 1:
        axis.fill_between(curve.places, low, high, color=curve.style.color, alpha=0.18, linewidth=0)
    elif len(curve.values) > 1:  # a band of one epoch has no width
        axis.vlines(curve.places, low, high, color=curve.style.color, alpha=0.4, linewidth=2)
    return line


def _whole_numbers(axis: Axes, places: Sequence[np.ndarray]) -> None:
    """Whole epochs or iterations alone as ticks, and room around a single one."""
    from matplotlib.ticker import MaxNLocator

    first, last = min(map(min, places)), max(map(max, places))
    if first == last:
        axis.set(xlim=(first - 1, first + 1), xticks=[first])
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _at_least(axis: Axes, span: float) -> None:
    """Widens the vertical axis to ``span`` percentage points, so that small differences look small; within 0 and 100."""
    low, high = axis.get_ylim()
    missing = span - (high - low)
    if missing > 0:
        low = min(max(0.0, low - missing / 2), 100.0 - span)
        axis.set_ylim(low, low + span)
