"""Prototypes against semantic anchors over seeds (Fig. 1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_features

from sar_cls.reporting.figures import class_geometry
from sar_cls.reporting.figures.series import NothingToDraw, Series
from sar_cls.runs.features import write_features

from .conftest import COUNTS
from .entries import add_features, entry


def test_three_sets_on_the_same_axes_with_their_dependency(work_dir: Path) -> None:
    add_features(work_dir, "mixup", "mixup_sar")
    base = entry(work_dir, "mixup", "MixUp")
    row = entry(work_dir, "mixup_sar", "SAR", baseline=base)
    assert class_geometry.rows_with_anchors([base, row]) == [row]
    data = class_geometry.prepare([row])
    assert [one.title for one in data.sets] == ["Prototypes, MixUp", "Prototypes, SAR", "Semantic anchors, SAR"]
    assert data.seeds == (1, 2)
    figure = class_geometry.draw(data)
    maps, last = figure.axes[:3], figure.axes[3]
    assert len({(axis.get_xlim(), axis.get_ylim()) for axis in maps}) == 1
    for axis, one in zip(maps, data.sets, strict=True):
        assert len(axis.lines) == 10 * 3  # a line and two seeds for each class
        points = np.array([line.get_xydata()[0] for line in axis.lines if line.get_marker() in "os"])
        np.testing.assert_allclose(points, one.points.swapaxes(0, 1).reshape(-1, 2))
    values = [line.get_ydata()[0] for line in last.lines]
    np.testing.assert_allclose(values, np.concatenate([one.dependency for one in data.sets]))
    # From the formula, class by class.
    prototypes = base.features[0].train_class_means.astype(np.float64)
    shares = []
    for index in range(10):
        energies = np.array([prototypes[index] @ other for other in prototypes]) / np.sqrt(prototypes.shape[1])
        shares.append(1 - np.exp(energies[index] - energies.max()) / np.exp(energies - energies.max()).sum())
    np.testing.assert_allclose(data.sets[0].dependency[0], np.mean(shares))
    text = class_geometry.caption(data, [row])
    assert "seeds 1, 2, on the same axes" in text
    assert f"Semantic anchors, SAR {data.sets[2].dependency.mean():.3f}" in text


def test_a_profile_sees_no_rotation_shift_or_scale() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 8))
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    found = class_geometry.profile(vectors)
    np.testing.assert_allclose(class_geometry.profile(3 * vectors @ rotation + 2), found, atol=1e-12)
    centred = vectors - vectors.mean(axis=0)
    for i in range(6):
        others = [k for k in range(6) if k != i]
        cosines = [centred[i] @ centred[k] / np.linalg.norm(centred[i]) / np.linalg.norm(centred[k]) for k in others]
        np.testing.assert_allclose(found[i, others], cosines)
        np.testing.assert_allclose(found[i, i], np.mean(cosines))


def test_without_a_baseline_there_are_two_sets(work_dir: Path) -> None:
    add_features(work_dir, "mixup_sar")
    row = entry(work_dir, "mixup_sar", baseline=entry(work_dir, "mixup"))  # which has no features
    data = class_geometry.prepare([row])
    assert len(data.sets) == 2
    assert len(class_geometry.draw(data).axes) == 3
    one = class_geometry.prepare([entry(work_dir, "mixup_sar", runs=1)])
    assert np.isnan(one.sets[0].agreement)
    class_geometry.draw(one)


def test_anchors_that_were_never_set(work_dir: Path) -> None:
    add_features(work_dir, "mixup_sar")
    unset = replace(make_features(1, COUNTS), anchors_set=np.arange(10) > 0)
    write_features(work_dir / "lt/mixup_sar/seed1", unset)
    assert class_geometry.prepare([entry(work_dir, "mixup_sar")]).seeds == (2,)
    with pytest.raises(NothingToDraw, match="the gate did not open for every class"):
        class_geometry.prepare([entry(work_dir, "mixup_sar", runs=1)])


def test_classes_without_training_images_are_left_out(work_dir: Path) -> None:
    counts = [*COUNTS[:8], 0, 0]
    row = entry(work_dir, "mixup_sar")
    for run_dir in row.run_dirs:
        write_features(run_dir, make_features(1, counts))
    bare = Series("SAR", row.run_dirs, tuple(counts))
    data = class_geometry.prepare([bare])
    assert list(data.classes) == list(range(8))
    assert "2 of 10 classes without training images are left out" in class_geometry.caption(data, [bare])


def test_many_classes_have_the_colour_of_their_frequency(work_dir: Path) -> None:
    counts = tuple(range(240, 0, -10))
    row = entry(work_dir, "mixup_sar")
    for seed, run_dir in enumerate(row.run_dirs):
        write_features(run_dir, make_features(seed, counts, feat_dim=30, per_class=2))
    data = class_geometry.prepare([Series("SAR", row.run_dirs, counts)])
    figure = class_geometry.draw(data)
    assert not any(axis.texts for axis in figure.axes)
    assert "Training images of the class" in [axis.get_xlabel() for axis in figure.axes]
