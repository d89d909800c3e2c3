"""Features of a run on disk: what is written is read, what cannot be of one run is refused in a sentence."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_runs import make_features, make_record, write_run

from sar_cls.errors import InputError
from sar_cls.runs.features import FORMAT, Features, halved, read_features, write_features

FEATURES = make_features(seed=1)


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path / "features.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize("optional", [True, False], ids=["with anchors", "without"])
def test_what_is_written_is_read(tmp_path: Path, optional: bool) -> None:
    features = FEATURES
    if not optional:
        none = dict.fromkeys(
            ("classifier_weight", "classifier_bias", "semantic_anchors", "anchors_set", "class_anchors")
        )
        features = replace(features, **none)  # type: ignore[arg-type]
    path = write_features(tmp_path, features)
    assert path == tmp_path / "features.npz"
    assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]
    read = read_features(tmp_path)
    for field in fields(Features):
        expected, found = getattr(features, field.name), getattr(read, field.name)
        if field.name == "test_features":
            np.testing.assert_allclose(found, expected, rtol=2**-11)
        else:
            np.testing.assert_array_equal(found, expected)
    assert read.test_features.dtype == read.train_class_means.dtype == np.float32
    assert read.test_labels.dtype == read.train_class_counts.dtype == np.int64
    assert (read.num_classes, read.feat_dim) == (4, 8)


def test_size(tmp_path: Path) -> None:
    counts = [200] * 20
    path = write_features(tmp_path, make_features(counts=counts, feat_dim=64, per_class=100))
    expected = 2 * 2000 * 64 + 20 * 20 * 64
    assert (
        expected < path.stat().st_size < expected + 12_000
    )  # labels, what is one number a class, and the archive itself


class TestHalfPrecision:
    labels = np.repeat([0, 1], 50)

    def spread(self, width: float) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=(100, 8))
        return (10.0 + self.labels[:, None] + width * noise).astype(np.float32)

    def test_where_it_does_not_show(self) -> None:
        values = self.spread(5.0)
        assert halved(values, self.labels).dtype == np.float16

    def test_not_for_collapsed_classes(self) -> None:
        assert halved(self.spread(0.01), self.labels).dtype == np.float32

    def test_one_collapsed_class_is_enough(self) -> None:
        values = self.spread(5.0)
        values[self.labels == 1] = self.spread(0.01)[self.labels == 1]
        assert halved(values, self.labels).dtype == np.float32

    def test_not_beyond_its_range(self) -> None:
        assert halved(self.spread(1e5), self.labels).dtype == np.float32


def test_no_features(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no features: sar-cls features makes them"):
        read_features(tmp_path)
    (tmp_path / "features.npz").mkdir()
    with pytest.raises(InputError, match="a folder is where a file should be"):
        read_features(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"no archive", pickle.dumps([1])])
def test_damaged_files_give_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "features.npz").write_bytes(content)
    with pytest.raises(InputError, match="is damaged") as caught:
        read_features(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(tmp_path: Path, share: float) -> None:
    content = write_features(tmp_path, FEATURES).read_bytes()
    (tmp_path / "features.npz").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="is damaged"):
        read_features(tmp_path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path, FEATURES)
    changed = {**arrays_of(tmp_path), "test_features": np.array([{}], dtype=object)}
    np.savez(tmp_path / "features.npz", **changed, allow_pickle=True)
    with pytest.raises(InputError, match="is damaged"):
        read_features(tmp_path)


def test_a_newer_format(tmp_path: Path) -> None:
    write_features(tmp_path, FEATURES)
    np.savez(tmp_path / "features.npz", **{**arrays_of(tmp_path), "format": np.array(FORMAT + 1)})
    with pytest.raises(InputError, match="by a newer version"):
        read_features(tmp_path)


NAN = np.full((4, 8), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_features": FEATURES.test_features[0]}, "test_features are no finite numbers"),
        ({"test_features": FEATURES.test_features * np.nan}, "test_features are no finite numbers"),
        ({"test_features": FEATURES.test_features[:, :7]}, "train_class_means is no array"),
        ({"test_labels": FEATURES.test_labels[1:]}, "test_labels do not fit"),
        ({"test_labels": FEATURES.test_labels + 1}, "test_labels have other classes"),
        ({"test_predictions": FEATURES.test_predictions.astype(float)}, "test_predictions do not fit"),
        ({"train_class_counts": FEATURES.train_class_counts[:3]}, "test_labels have other classes"),
        ({"train_class_counts": np.array(["a", "b", "c", "d"])}, "train_class_counts are no counts"),
        ({"train_class_variances": np.full(4, np.inf)}, "train_class_variances is no array"),
        ({"classifier_weight": NAN[:3]}, "classifier_weight is no array"),
        ({"semantic_anchors": None}, "semantic_anchors and anchors_set belong together"),
        ({"anchors_set": np.ones(4)}, "anchors_set is no row"),
        ({"class_anchors": np.array(["a"])}, "class_anchors is no array"),
    ],
    ids=str,
)
def test_arrays_that_cannot_be_of_one_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_features(tmp_path, replace(FEATURES, **changes))
    assert not list(tmp_path.iterdir())
    write_features(tmp_path, FEATURES)
    changed = {name: value for name, value in {**arrays_of(tmp_path), **changes}.items() if value is not None}
    np.savez(tmp_path / "features.npz", **changed)
    with pytest.raises(InputError, match=rf"is damaged \({message}"):
        read_features(tmp_path)


def test_an_array_is_missing(tmp_path: Path) -> None:
    write_features(tmp_path, FEATURES)
    arrays = arrays_of(tmp_path)
    del arrays["train_class_means"]
    np.savez(tmp_path / "features.npz", **arrays)
    with pytest.raises(InputError, match=r"is damaged \(train_class_means is missing\)"):
        read_features(tmp_path)


class TestOfAnotherRun:
    def written(self, tmp_path: Path, **changes: Any) -> dict[str, Any]:
        counts = FEATURES.train_class_counts.tolist()
        record = write_run(tmp_path, make_record("digits", "sar", 7, 11.0, train_counts=counts))
        write_features(tmp_path, replace(FEATURES, run_id=record["run_id"]))
        return record | changes

    def test_its_own(self, tmp_path: Path) -> None:
        record = self.written(tmp_path)
        assert read_features(tmp_path, record).run_id == record["run_id"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"train_counts": [1] * 10}, "4 classes instead of 10"),
            ({"train_counts": [1] * 4}, "other training images"),
            ({"run_id": "of another"}, "another run_id"),
        ],
        ids=str,
    )
    def test_another(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        record = self.written(tmp_path, **changes)
        with pytest.raises(InputError, match=rf"is of another run than its record \({message}"):
            read_features(tmp_path, record)
