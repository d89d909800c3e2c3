"""Images with what segmentation nets make of them, side by side: image, truth, then each row (the SAR paper's Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.figures.labels import names, provenance, wrapped
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.figures.style import COLUMN, PAGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOID = 255
MOST_IN_LEGEND = 24
ROOM_OF_A_LINE = 0.16  # inches, of the legend and of the headings
ROOM_OF_A_SIGN = 0.068  # inches, of a heading


@dataclass(frozen=True)
class Examples:
    """Test images and what was made of them.

    Attributes:
        classes: names.
        images: uint8 [k, H, W, 3].
        truth: uint8 [k, H, W], 255 where a pixel has no class.
        predictions: label of each row -> uint8 [k, H, W].
    """

    classes: tuple[str, ...]
    images: np.ndarray
    truth: np.ndarray
    predictions: dict[str, np.ndarray]


def palette(num_classes: int) -> np.ndarray:
    """A colour for each label, uint8 [256, 3]: those of the classes apart in hue and brightness, everything else black."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    golden = 0.618033988749895
    for label in range(num_classes):
        hue, value = (label * golden) % 1, (0.95, 0.7, 0.5)[label % 3]
        k = (np.array([5, 3, 1]) + 6 * hue) % 6
        colours[label] = np.rint(255 * (value - value * 0.65 * np.clip(np.minimum(k, 4 - k), 0, 1)))
    return colours


def prepare(series: Sequence[Series]) -> Examples:
    """The examples that the first run keeps, with the predictions of each row's first run after its last iteration.

    Raises:
        NothingToDraw: the runs keep no predictions.
        InputError: they are of other test images.
    """
    labels = names(series, with_runs=False)[0]
    first = series[0].dense_outputs[0]
    if first.images is None or first.labels is None or first.examples is None:
        raise NothingToDraw("the runs keep no predictions: their test images are too many")
    predictions = {}
    for label, entry in zip(labels, series, strict=True):
        outputs = entry.dense_outputs[0]
        if outputs.labels is None or not np.array_equal(outputs.labels, first.labels):
            raise InputError(f"{label} has other test images than {labels[0]}; draw them apart")
        assert outputs.last.predictions is not None, "written along with the labels"
        predictions[label] = outputs.last.predictions[first.examples]
    classes = tuple(str(name) for name in first.classes)
    return Examples(classes, first.images, first.labels[first.examples], predictions)


def draw(data: Examples) -> Figure:
    """Examples as lines, the image, the truth and the rows as columns. Pixels without a class are black everywhere."""
    from matplotlib.patches import Patch

    colours = palette(len(data.classes))
    columns: list[tuple[str, np.ndarray]] = [("Image", data.images), ("Truth", colours[data.truth])]
    for label, predicted in data.predictions.items():
        columns.append((label, colours[np.where(data.truth == VOID, VOID, predicted)]))
    shown = [label for label in np.unique(data.truth) if label != VOID][:MOST_IN_LEGEND]
    height, width = data.truth.shape[1:]
    over = COLUMN if len(columns) <= 4 else PAGE  # more than two rows need the page's width
    side, in_a_line = over / len(columns), 3 if over == COLUMN else 6
    headings = [wrapped(title, int(side / ROOM_OF_A_SIGN)) for title, _ in columns]
    lines = -(-len(shown) // in_a_line) + max(heading.count("\n") + 1 for heading in headings)
    figure = new_figure(side * height / width * len(data.truth) + 0.2 + ROOM_OF_A_LINE * lines, over)
    axes = figure.subplots(len(data.truth), len(columns), squeeze=False)
    for column, (heading, (_, pictures)) in enumerate(zip(headings, columns, strict=True)):
        axes[0, column].set_title(heading)
        for line, picture in enumerate(pictures):
            axes[line, column].imshow(picture, interpolation="nearest")
            axes[line, column].set_axis_off()
    handles = [Patch(color=colours[label] / 255, label=data.classes[label]) for label in shown]
    figure.legend(handles=handles, ncols=in_a_line, loc="outside lower center")
    return figure


def caption(data: Examples, series: Sequence[Series]) -> str:
    """What is drawn, and of which runs."""
    return (
        f"{len(data.truth)} test images with the most of the rarest classes: image, truth, and what each row's first run makes of "
        f"it after its last iteration; black: pixels without a class. {provenance(series)}"
    )
