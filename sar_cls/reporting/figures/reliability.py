"""Reliability diagrams: accuracy over confidence (Guo et al. 2017, Fig. 1, https://arxiv.org/abs/1706.04599)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.reporting.figures.labels import names, provenance, wrapped
from sar_cls.reporting.figures.series import Series
from sar_cls.reporting.figures.style import COLOURS, HEADING, leftmost, legend_below, lowest, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 15


@dataclass(frozen=True)
class Panel:
    """One reliability diagram; the test images of all runs are pooled.

    Attributes:
        label: of the row.
        edges: float [b + 1] of the bins of confidence, in percent.
        count: int [b], images.
        accuracy: float [b] in percent, NaN in an empty bin.
        confidence: float [b], mean in percent, NaN in an empty bin.
    """

    label: str
    edges: np.ndarray
    count: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error in percent."""
        gap = np.abs(self.accuracy - self.confidence)[self.count > 0]
        return float(np.sum(gap * self.count[self.count > 0]) / self.count.sum())


def prepare(series: Sequence[Series]) -> list[Panel]:
    """A panel for each entry, from the saved test logits."""
    from sar_cls.metrics import reliability_bins  # imports torch

    found = []
    for entry, label in zip(series, names(series, with_runs=False)[0], strict=True):
        logits = np.concatenate([output.logits for output in entry.outputs])
        bins = reliability_bins(logits, np.concatenate([output.labels for output in entry.outputs]), NUM_BINS)
        found.append(Panel(label, 100 * bins["edges"], bins["count"], bins["accuracy"], bins["confidence"]))
    return found


def draw(data: Sequence[Panel]) -> Figure:
    """One small square diagram for each panel."""
    lines = max(wrapped(panel.label, HEADING).count("\n") for panel in data) + 2
    figure, axes = panels(len(data), 1.58 + 0.115 * lines, extra=0.55, sharex=True, sharey=True)
    for axis, panel in zip(axes, data, strict=True):
        full = panel.count > 0
        centres, widths = (panel.edges[:-1] + panel.edges[1:])[full] / 2, np.diff(panel.edges)[full]
        accuracy, gap = panel.accuracy[full], (panel.confidence - panel.accuracy)[full]
        axis.bar(centres, accuracy, widths, color=COLOURS[5], edgecolor="white", linewidth=0.3, label="accuracy")
        axis.bar(
            centres, gap, widths, bottom=accuracy, facecolor="none", edgecolor=COLOURS[2], hatch="/////", linewidth=0.5,
            label="gap to confidence",
        )  # fmt: skip
        axis.plot([0, 100], [0, 100], color="black", linestyle="--", linewidth=0.7, label="perfect calibration")
        axis.set_title(f"{wrapped(panel.label, HEADING)}\nECE {panel.ece:.1f} %")
        axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    for axis in lowest(axes):
        axis.set_xlabel("Confidence (%)")
    for axis in leftmost(axes):
        axis.set_ylabel("Accuracy (%)")
    legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def caption(data: Sequence[Panel], series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    pooled = ", those of all runs of a row pooled" if any(len(entry.run_dirs) > 1 for entry in series) else ""
    return (
        f"Reliability diagrams after the last epoch: accuracy of the test images{pooled} in {NUM_BINS} equal bins of the "
        "confidence of the predicted class (bars), and the gap to their mean confidence (hatched). On the dashed line accuracy and "
        "confidence are equal. ECE: expected calibration error, the mean gap weighted by the images of a bin. "
        + provenance(series)
    )
