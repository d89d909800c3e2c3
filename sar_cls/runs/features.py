"""The features that a run keeps, ``features.npz``: where its classes lie in the space that enters the classifier.

They are those of the last epoch's weights, all evaluated without augmentation. Of the test images every feature is kept; of the
images that were trained on what the geometry of their classes needs: count, mean, mean direction, spread and part in NC1 of each
class, C (2 D + 3) numbers instead of n D. The size is about 2 n D + 20 C D bytes, twice the first term where the test features do
not fit into float16: 1.4 MB for CIFAR-100-LT with ResNet-32 (10,000 x 64), 11 MB for ResNet-18 (10,000 x 512). There is no
compression, which would save a tenth and take most of the time.

Runs from before this file, and those with ``--no-features``, have none; ``sar-cls features`` makes them where the checkpoint is
still there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import replacing, why
from sar_cls.runs.folder import FEATURES_FILE

FORMAT = 1
# Test features are rounded to float16 where this moves them by no more than this share of the narrowest class's own spread.
MOST_ROUNDING = 0.01
_REMEDY = "make it again with sar-cls features --again, or move the run's folder away and run its row again"


@dataclass(frozen=True)
class Features:
    """Features of a run after its last epoch; n test images, C classes, D channels.

    Attributes:
        test_features: float32 [n, D], what entered the classifier; values rounded to float16 where that loses nothing.
        test_labels: int64 [n].
        test_predictions: int64 [n], the classifier's decisions, as in the run's test outputs.
        train_class_means: float32 [C, D] of the training images; NaN for a class without one.
        train_class_counts: int64 [C], training images.
        train_class_directions: float32 [C, D], means of the training features scaled to length one; NaN for a class without an
            image or with a feature that is all zero.
        train_class_variances: float32 [C], mean squared distance to the class mean (n - 1 in the denominator); NaN for a class of
            fewer than two images.
        train_class_collapse: float32 [C], the class's part in NC1, tr(S_c S_B^+); NaN likewise.
        classifier_weight: float32 [C, D], None for a classifier that has no such thing. Learnable scaling, tau-normalisation and
            logit adjustment are in weight and bias.
        classifier_bias: float32 [C] or None.
        cosine_classifier: whether the logits are cosines to the weights, times a constant.
        semantic_anchors: float32 [C, D], SAR's, or None. Rows of a class that was never accepted are zero.
        anchors_set: bool [C], the classes whose semantic anchor was ever set; None without semantic anchors.
        class_anchors: float32 [C, D], the pre-defined ones of SAR and FixedAnchors, or None.
        run_id: of the run, to tell the features of another one; "" where it is not known.
    """

    test_features: np.ndarray
    test_labels: np.ndarray
    test_predictions: np.ndarray
    train_class_means: np.ndarray
    train_class_counts: np.ndarray
    train_class_directions: np.ndarray
    train_class_variances: np.ndarray
    train_class_collapse: np.ndarray
    classifier_weight: np.ndarray | None = None
    classifier_bias: np.ndarray | None = None
    cosine_classifier: bool = False
    semantic_anchors: np.ndarray | None = None
    anchors_set: np.ndarray | None = None
    class_anchors: np.ndarray | None = None
    run_id: str = ""

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.train_class_counts)

    @property
    def feat_dim(self) -> int:
        """D."""
        return int(self.test_features.shape[1])


def write_features(run_dir: Path | str, features: Features) -> Path:
    """Writes ``features.npz`` under a temporary name and renames it; returns its path.

    Raises:
        ValueError: the arrays are not of one run (a mistake in the calling code).
    """
    problem = _problem(features)
    if problem:
        raise ValueError(f"the features of {run_dir} cannot be kept: {problem}")
    arrays: dict[str, Any] = {"format": np.array(FORMAT)}
    for field in fields(Features):
        value = getattr(features, field.name)
        if value is not None:
            arrays[field.name] = _narrow(np.asarray(value))
    arrays["test_features"] = halved(arrays["test_features"], features.test_labels)
    path = Path(run_dir) / FEATURES_FILE
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return path


def _narrow(value: np.ndarray) -> np.ndarray:
    """Floats as float32; whole numbers, which are not negative here, in as few bytes as they need."""
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    return value.astype(np.min_scalar_type(value.max())) if value.dtype.kind in "iu" else value


def halved(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features [n, D] in float16, or as they are where that would show.

    It would where a value is beyond float16's range, or where the rounding is more than a hundredth of a class's own spread (root
    mean squares over the class; its variance then moves by a ten-thousandth): the features of a class that has collapsed differ in
    digits that float16 does not have.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        return values
    for label in np.unique(labels):
        own = values[labels == label].astype(np.float64)
        if len(own) > 1:
            error = np.square(rounded[labels == label].astype(np.float64) - own).mean()
            if error > MOST_ROUNDING**2 * np.square(own - own.mean(axis=0)).mean():
                return values
    return rounded


def read_features(run_dir: Path | str, record: Mapping[str, Any] | None = None) -> Features:
    """Reads ``features.npz`` of a run; nothing in it is unpickled.

    Args:
        run_dir: of the run.
        record: its record; with it, features of another run are told from its own.

    Raises:
        InputError: the run has none, they are damaged, of a newer version, or of another run; one sentence.
    """
    path = Path(run_dir) / FEATURES_FILE
    known = {field.name for field in fields(Features)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            version = int(archive["format"])
            names = [] if version > FORMAT else [name for name in archive.files if name in known]
            arrays: dict[str, Any] = {name: archive[name] for name in names}
    except FileNotFoundError:
        raise InputError(
            f"{run_dir} has no features: sar-cls features makes them where the run's checkpoint is still there"
        ) from None
    except OSError as error:
        raise InputError(why(error, path)) from error
    # What NumPy and zipfile raise depends on where a file was cut off or overwritten.
    except Exception as error:
        reason = "no archive" if isinstance(error, zipfile.BadZipFile) else str(error).partition("\n")[0]
        raise InputError(f"{path} is damaged ({reason}): {_REMEDY}") from error
    if version > FORMAT:
        raise InputError(
            f"{path} was written by a newer version of this project (format {version}, this one reads {FORMAT}): "
            "update the project"
        )
    missing = [field.name for field in fields(Features) if field.default is MISSING and field.name not in arrays]
    if missing:
        raise InputError(f"{path} is damaged ({missing[0]} is missing): {_REMEDY}")
    for name, array in arrays.items():
        wide = {"f": np.float32, "u": np.int64, "i": np.int64}.get(array.dtype.kind)
        arrays[name] = array if wide is None else array.astype(wide)
    try:
        plain: dict[str, Any] = {
            "run_id": str(arrays.pop("run_id", "")),
            "cosine_classifier": bool(arrays.pop("cosine_classifier", False)),
        }
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): {_REMEDY}") from error
    features = Features(**arrays, **plain)
    problem = _problem(features)
    if problem:
        raise InputError(f"{path} is damaged ({problem}): {_REMEDY}")
    if record is not None:
        foreign = _foreign(features, record)
        if foreign:
            raise InputError(f"{path} is of another run than its record ({foreign}): {_REMEDY}")
    return features


def _problem(features: Features) -> str | None:
    """Why the arrays cannot be of one run, in a few words; None where they can."""
    values = features.test_features
    if values.ndim != 2 or values.dtype.kind != "f" or not values.size or not np.isfinite(values).all():
        return "test_features are no finite numbers [n, D]"
    counts = features.train_class_counts
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or len(counts) < 2 or (counts < 0).any():
        return "train_class_counts are no counts"
    (images, width), classes = values.shape, len(counts)
    for name in ("test_labels", "test_predictions"):
        labels = getattr(features, name)
        if labels.shape != (images,) or labels.dtype.kind not in "iu":
            return f"{name} do not fit test_features"
        if labels.min() < 0 or labels.max() >= classes:
            return f"{name} have other classes than the training images"
    shapes = {
        (classes, width): (
            "train_class_means", "train_class_directions", "classifier_weight", "semantic_anchors", "class_anchors",
        ),
        (classes,): ("train_class_variances", "train_class_collapse", "classifier_bias"),
    }  # fmt: skip
    for shape, names in shapes.items():
        for name in names:
            array = getattr(features, name)
            if array is not None and (array.shape != shape or array.dtype.kind != "f" or np.isinf(array).any()):
                return f"{name} is no array of numbers {list(shape)}"
    if (features.semantic_anchors is None) != (features.anchors_set is None):
        return "semantic_anchors and anchors_set belong together"
    if features.anchors_set is not None and (
        features.anchors_set.shape != (classes,) or features.anchors_set.dtype != bool
    ):
        return "anchors_set is no row of yes and no"
    return None


def _foreign(features: Features, record: Mapping[str, Any]) -> str | None:
    """Why features cannot be of the run that a record is of, in a few words; None where they can."""
    counts = record["train_counts"]
    if len(counts) != features.num_classes:
        return f"{features.num_classes} classes instead of {len(counts)}"
    if list(counts) != features.train_class_counts.tolist():
        return "other training images"
    if features.run_id and features.run_id != record["run_id"]:
        return "another run_id"
    return None
