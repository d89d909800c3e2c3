"""The geometry of a run's features in its record, under ``extra``: computed once, where the features are.

The entry has a format number of its own, so that a record without it, or with a later one, stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.runs.features import Features

ENTRY, FORMAT = "geometry", 1
SPLITS = ("test", "train")


def geometry_of(features: Features, train_counts: Sequence[int]) -> dict[str, Any]:
    """What a record keeps of features: ``format``, and for "test" and "train" group -> figure -> number or a reason in words.

    Args:
        features: of the run; before they were rounded, where they are still there.
        train_counts: training images of each class, which make the shot groups.
    """
    from sar_cls.metrics.accuracy import shot_groups  # imports torch, so only once it is needed
    from sar_cls.metrics.class_statistics import ClassStatistics
    from sar_cls.metrics.geometry import ClassVectors, geometry

    def wide(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array.astype(np.float64)

    parts = ("means", "directions", "variances", "collapse")
    train = ClassStatistics(
        features.train_class_counts, *(getattr(features, f"train_class_{part}").astype(np.float64) for part in parts)
    )
    vectors = ClassVectors(wide(features.classifier_weight), wide(features.semantic_anchors), features.anchors_set)
    found = geometry(
        features.test_features.astype(np.float64),
        features.test_labels,
        features.test_predictions,
        train,
        vectors,
        shot_groups(train_counts),
    )
    return {"format": FORMAT, **found}


def recorded_geometry(record: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float | str]]] | None:
    """The geometry in a record, split -> group -> figure -> number or reason; None where there is none.

    Raises:
        InputError: the entry is damaged, or of a newer version.
    """
    entry = record["extra"].get(ENTRY)
    if entry is None:
        return None
    title = f"{record['suite']}/{record['row']}/{record['run']}"
    remedy = "make it again with sar-cls features --again"
    if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
        raise InputError(f"the geometry in the record of {title} is damaged: {remedy}")
    if entry["format"] > FORMAT:
        raise InputError(
            f"the geometry in the record of {title} is of a newer version (format {entry['format']}): update the project"
        )
    found = {split: entry.get(split) for split in SPLITS}
    for groups in found.values():
        if not isinstance(groups, dict) or not all(isinstance(figures, dict) for figures in groups.values()):
            raise InputError(f"the geometry in the record of {title} is damaged: {remedy}")
        values = [value for figures in groups.values() for value in figures.values()]
        if not all(isinstance(value, (int, float, str, type(None))) for value in values):
            raise InputError(f"the geometry in the record of {title} is damaged: {remedy}")
    return found  # type: ignore[return-value]
