"""The picture of predictions side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sar_cls.errors import InputError
from sar_cls.reporting.figures.qualitative import palette, qualitative_figure
from sar_cls.runs.dense_outputs import DenseOutputs, Evaluated

pytest.importorskip("matplotlib")


def outputs(seed: int) -> DenseOutputs:
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(9).integers(0, 3, (4, 6, 8)).astype(np.uint8)
    labels[:, 0] = 255
    found = [Evaluated(np.eye(3, dtype=np.int64), rng.integers(0, 3, labels.shape).astype(np.uint8)) for _ in range(2)]
    images = np.random.default_rng(8).integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    return DenseOutputs(found[0], found[1], np.array(["road", "car", "sky"]), labels, images, np.array([1, 3]))


def test_image_truth_and_each_row_stand_side_by_side() -> None:
    plain, sar = outputs(0), outputs(1)
    figure = qualitative_figure([("plain", plain), ("SAR", sar)])
    assert figure is not None
    axes = np.array(figure.axes).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == ["Image", "Truth", "plain", "SAR"]
    colours = palette(3)
    shown = [[np.asarray(axis.get_images()[0].get_array()) for axis in line] for line in axes]
    for line, example in enumerate((1, 3)):
        assert np.array_equal(shown[line][0], plain.images[line])
        assert np.array_equal(shown[line][1], colours[plain.labels[example]])
        expected = sar.last.predictions[example].copy()
        expected[plain.labels[example] == 255] = 255
        assert np.array_equal(shown[line][3], colours[expected])
    assert (shown[0][2][0] == 0).all()  # no class, no colour


def test_runs_on_other_images_are_drawn_apart() -> None:
    other = outputs(1)
    other.labels[0, 3, 3] = (other.labels[0, 3, 3] + 1) % 3
    with pytest.raises(InputError, match="SAR has other test images than plain"):
        qualitative_figure([("plain", outputs(0)), ("SAR", other)])


def test_without_predictions_there_is_no_picture() -> None:
    bare = replace(outputs(0), labels=None, images=None, examples=None)
    assert qualitative_figure([("plain", bare)]) is None


def test_colours_of_classes_differ() -> None:
    colours = palette(150)
    assert len({tuple(colour) for colour in colours[:150].tolist()}) > 140
    assert len({tuple(colour) for colour in palette(19)[:19].tolist()}) == 19
    assert (colours[150:] == 0).all()
