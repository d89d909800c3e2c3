"""Images with what nets make of them, side by side: image, truth, then each row (the SAR paper's Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.errors import InputError
from sar_cls.runs.dense_outputs import DenseOutputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOID = 255


def palette(num_classes: int) -> np.ndarray:
    """A colour for each label, uint8 [256, 3]: those of the classes apart in hue and brightness, everything else black."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    golden = 0.618033988749895
    for label in range(num_classes):
        hue, value = (label * golden) % 1, (0.95, 0.7, 0.5)[label % 3]
        k = (np.array([5, 3, 1]) + 6 * hue) % 6
        colours[label] = np.rint(255 * (value - value * 0.65 * np.clip(np.minimum(k, 4 - k), 0, 1)))
    return colours


def qualitative_figure(entries: Sequence[tuple[str, DenseOutputs]]) -> Figure | None:
    """Examples as lines; the image, the truth and each entry's prediction after its last iteration as columns.

    Pixels without a class are black, in the predictions as well.

    Args:
        entries: label and outputs of each; the examples are those of the first one.

    Returns:
        The figure; None where the runs keep no predictions.

    Raises:
        InputError: the runs are of other test images.
    """
    first = entries[0][1]
    if first.images is None or first.labels is None or first.examples is None:
        return None
    for label, outputs in entries:
        if outputs.labels is None or not np.array_equal(outputs.labels, first.labels):
            raise InputError(f"{label} has other test images than {entries[0][0]}; draw them apart")
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    truth = first.labels[first.examples]
    colours = palette(len(first.classes))
    columns: list[tuple[str, np.ndarray]] = [("Image", first.images), ("Truth", colours[truth])]
    for label, outputs in entries:
        assert outputs.last.predictions is not None, "written along with the labels"
        predicted = np.where(truth == VOID, VOID, outputs.last.predictions[first.examples])
        columns.append((label, colours[predicted]))
    height, width = truth.shape[1:]
    side = 2.2
    figure = Figure(figsize=(side * len(columns), side * height / width * len(truth) + 0.9), layout="constrained")
    axes = figure.subplots(len(truth), len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=8)
        for line, picture in enumerate(pictures):
            axes[line, column].imshow(picture, interpolation="nearest")
            axes[line, column].set_axis_off()
    shown = [label for label in np.unique(truth) if label != VOID][:24]
    handles = [Patch(color=colours[label] / 255, label=str(first.classes[label])) for label in shown]
    figure.legend(handles=handles, ncols=min(len(handles), 3 * len(columns)), fontsize=7, loc="outside lower center")
    return figure
