"""Which figures the report draws of a view, and what stands below each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        kind: which script draws it: "dots", "training", "readings" or "classes".
        title: heading.
        caption: what it shows.
    """

    kind: str
    title: str
    caption: str


DOTS = Figure(
    "dots",
    "Differences to the baseline",
    "Mean of the differences over paired seeds at the last epoch, with the 95 % interval of the paired t-test. An "
    "interval that holds 0 is "
    "no evidence of a difference; nor is it evidence that there is none.",
)
TRAINING = Figure(
    "training",
    "Training curves",
    "Mean over the seeds of a row; the band reaches from the lowest to the highest of them.",
)
READINGS = Figure(
    "readings",
    "What the regularizer says of itself",
    "For SAR: how many class anchors are classified right with more than τ and δ, and at how many steps the gate "
    "was open. A regularizer "
    "whose gate is closed does nothing to the features.",
)
CLASSES = Figure(
    "classes",
    "Classes: two rows compared",
    "At the last epoch. Accuracies are means over the seeds of a row; confusion and reliability pool the test "
    "images of all its seeds.",
)
DENSE_CLASSES = Figure(
    "classes",
    "Classes: two rows compared",
    "After the last iteration. The IoU of a class is the mean over the seeds of a row; confusion pools the test pixels of all its "
    "seeds.",
)

MAPS = Figure(
    "maps",
    "How the classes lie to each other",
    "Each class by the cosines of its centred mean feature (prototype) or semantic anchor to those of all classes, in one plane "
    "for all rows and seeds; lines join the same class in different seeds. Short lines: the seeds agree on how the class lies to "
    "the others.",
)


def figures_of(
    entries: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Any],
    readings: Mapping[str, Any],
    training: Mapping[str, Any],
    dense: bool = False,
) -> list[Figure]:
    """The figures for which there are data.

    Args:
        entries: of the view, as the page has them.
        maps: its points of classes; empty without features.
        readings: columns of a history that regularizers say of themselves.
        training: the other columns that are drawn.
        dense: whether the rows are segmentation nets.
    """
    found = [DOTS] if any(entry["delta"] for entry in entries) else []
    for figure, columns in ((TRAINING, training), (READINGS, readings)):
        found += [figure] if any(set(columns) & set(entry["curves"] or ()) for entry in entries) else []
    found += [MAPS] if maps else []
    classes = DENSE_CLASSES if dense else CLASSES
    return found + ([classes] if any(entry.get("accuracy") for entry in entries) else [])
