"""The picture of predictions side by side."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.reporting.figures.gallery import DENSE_KINDS, KINDS, Easel
from sar_cls.reporting.figures.qualitative import caption, draw, palette, prepare
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.reporting.figures.style import paper_style
from sar_cls.runs.dense_outputs import Evaluated, write_dense_outputs


def entry(folder: Path, row: str, seed: int, kept: bool = True, change: bool = False) -> Series:
    """A row with one run that has left its predictions."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(9)
    labels = shared.integers(0, 3, (4, 6, 8)).astype(np.uint8)
    labels[:, 0] = 255
    images = shared.integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)
    if change:
        labels[0, 3, 3] = (labels[0, 3, 3] + 1) % 3
    predictions = rng.integers(0, 3, labels.shape).astype(np.uint8) if kept else None
    found = dict.fromkeys(("last", "best"), Evaluated(np.eye(3, dtype=np.int64), predictions))
    test = SimpleNamespace(
        classes=("road", "car", "sky"), labels=torch.from_numpy(labels), images=torch.from_numpy(images)
    )
    run = folder / row
    run.mkdir()
    write_dense_outputs(run, found, test)
    return Series(row, (run,), (9, 5, 1), row=row)


def test_image_truth_and_each_row_stand_side_by_side(tmp_path: Path) -> None:
    plain, sar = entry(tmp_path, "plain", 0), entry(tmp_path, "SAR", 1)
    data = prepare([plain, sar])
    figure = draw(data)
    axes = np.array(figure.axes).reshape(len(data.truth), 4)
    assert [axis.get_title() for axis in axes[0]] == ["Image", "Truth", "plain", "SAR"]
    colours, outputs = palette(3), sar.dense_outputs[0]
    for line, example in enumerate(outputs.examples):
        shown = [np.asarray(axis.get_images()[0].get_array()) for axis in axes[line]]
        assert np.array_equal(shown[0], outputs.images[line])
        assert np.array_equal(shown[1], colours[outputs.labels[example]])
        expected = outputs.last.predictions[example].copy()
        expected[outputs.labels[example] == 255] = 255
        assert np.array_equal(shown[3], colours[expected])
        assert (shown[2][0] == 0).all()  # no class, no colour
    assert caption(data, [plain, sar]).startswith("4 test images with the most of the rarest classes")


def test_headings_of_many_rows_do_not_touch(tmp_path: Path) -> None:
    rows = ["SegFormer head", "SegFormer head+CAR", "SegFormer head+SAR", "SegFormer head+SAR, auxiliary loss alone"]
    with paper_style():
        figure = draw(prepare([entry(tmp_path, row, seed) for seed, row in enumerate(rows)]))
        figure.draw_without_rendering()  # lays it out
    boxes = [axis.title.get_window_extent() for axis in figure.axes[:6]]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= figure.bbox.x1
    assert max(box.y1 for box in boxes) <= figure.bbox.y1


def test_runs_on_other_images_are_drawn_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SAR has other test images than plain"):
        prepare([entry(tmp_path, "plain", 0), entry(tmp_path, "SAR", 1, change=True)])


def test_without_predictions_there_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(NothingToDraw, match="keep no predictions"):
        prepare([entry(tmp_path, "plain", 0, kept=False)])


def test_of_segmentation_nets_only_what_means_something_is_drawn(tmp_path: Path) -> None:
    easel = Easel(tmp_path / "figures", lambda _: None)
    (tmp_path / "figures").mkdir()
    easel.of_rows([entry(tmp_path, "plain", 0)], "scenes")
    assert {figure.kind for figure in easel.made} == set(DENSE_KINDS)
    assert [figure.kind for figure in easel.made if figure.made] == ["examples"]
    assert set(DENSE_KINDS) <= {kind.name for kind in KINDS}


def test_colours_of_classes_differ() -> None:
    colours = palette(150)
    assert len({tuple(colour) for colour in colours[:150].tolist()}) > 140
    assert len({tuple(colour) for colour in palette(19)[:19].tolist()}) == 19
    assert (colours[150:] == 0).all()
