"""Features with and without SAR (Fig. 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sar_cls.errors import InputError
from sar_cls.reporting.figures import feature_map
from sar_cls.reporting.figures.series import Series

from .entries import add_features, entry


def test_the_same_classes_and_seed_in_every_panel(work_dir: Path) -> None:
    add_features(work_dir, "mixup", "mixup_sar")
    rows = [entry(work_dir, "mixup", "MixUp"), entry(work_dir, "mixup_sar", "SAR")]
    data = feature_map.prepare(rows)
    assert [panel.seed for panel in data.panels] == [1, 1]
    np.testing.assert_array_equal(data.panels[0].labels, data.panels[1].labels)
    figure = feature_map.draw(data)
    assert len(figure.axes) == 2
    for axis, panel in zip(figure.axes, data.panels, strict=True):
        assert len(axis.lines) == 10
        drawn = np.concatenate([np.column_stack(line.get_data()) for line in axis.lines])
        assert len(drawn) == len(panel.labels) == 200  # 20 images of each class
        assert len({(line.get_color(), line.get_marker()) for line in axis.lines}) == 10
        assert f"silhouette {panel.silhouette:.2f}" in axis.get_title()
    assert figure.legends[0].get_texts()[0].get_text() == "class 0 (500)"
    text = feature_map.caption(data, rows)
    assert "seed 1: all classes" in text
    assert "principal components" in text


def test_silhouette_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(12, 3)), np.repeat([0, 1, 2], 4)
    scores = []
    for index, vector in enumerate(vectors):
        distances = np.linalg.norm(vectors - vector, axis=1)
        own = distances[labels == labels[index]].sum() / 3
        other = min(distances[labels == label].mean() for label in {0, 1, 2} - {labels[index]})
        scores.append((other - own) / max(own, other))
    np.testing.assert_allclose(feature_map.silhouette(vectors, labels), np.mean(scores))
    assert np.isnan(feature_map.silhouette(vectors[:1], labels[:1]))


def test_classes_of_a_tail_in_equal_steps() -> None:
    counts = np.arange(100)  # the last class is the most frequent
    chosen = feature_map.chosen_classes(counts)
    assert len(chosen) == 9
    assert (chosen[0], chosen[-1]) == (99, 0)
    assert (np.diff(counts[chosen]) < 0).all()
    assert list(feature_map.chosen_classes(np.array([5, 9, 7]))) == [1, 2, 0]


def test_rows_of_different_classes(work_dir: Path) -> None:
    other = Series("other", entry(work_dir, "mixup").run_dirs, (1, 2, 3))
    with pytest.raises(InputError, match="draw them apart"):
        feature_map.prepare([entry(work_dir, "mixup"), other])
