"""The geometry of a run's features in one dict: compactness, separation, neural collapse, alignment, dependency, effective rank.

Every figure is there overall and for each shot group, a number or, where it cannot be computed, the reason in words. Figures of a
group are means over its classes, each seen among all classes: the few-shot classes' distance to the nearest class is to the nearest
of all. What is a property of several classes together (the angles of NC2, NC3, effective ranks) is that of the group's classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sar_cls.metrics import alignment, dependency, neural_collapse, separation
from sar_cls.metrics.class_statistics import ClassStatistics, class_statistics
from sar_cls.metrics.effective_rank import effective_rank

FORMAT = 1
ALL = "all"

Figure: TypeAlias = float | str
Figures: TypeAlias = dict[str, dict[str, Figure]]
"""Group -> name of a figure -> number, or why there is none."""

_SPREAD, _PLACE = "fewer than two images", "no image"


@dataclass(frozen=True)
class ClassVectors:
    """What a run has for each of its C classes beside the features of images; float [C, D].

    Attributes:
        weights: the classifier's; None for one without.
        anchors: the semantic anchors; None for a run without.
        anchors_set: bool [C], the anchors that were ever set; None for all.
    """

    weights: np.ndarray | None = None
    anchors: np.ndarray | None = None
    anchors_set: np.ndarray | None = None


def geometry(
    features: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    train: ClassStatistics,
    vectors: ClassVectors,
    groups: Mapping[str, np.ndarray],
) -> dict[str, Figures]:
    """All figures of a run.

    Args:
        features: float [n, D] of the test images.
        labels: int [n].
        predictions: int [n], the classifier's decisions.
        train: statistics of the training images.
        vectors: weights and anchors.
        groups: name -> classes, the shot groups; groups without a class, and one that holds all classes, are left out.

    Returns:
        ``"test"`` and ``"train"`` -> group (``"all"`` first) -> figure -> value; see :func:`of_images`, :func:`of_test_images` and
        :func:`of_training_images` for the figures.

    Raises:
        InputError: features and labels that do not fit each other or the training images.
    """
    test = class_statistics(features, labels, train.num_classes)
    members = {ALL: np.arange(train.num_classes)}
    parts = {name: np.asarray(classes, dtype=np.int64) for name, classes in groups.items()}
    members |= {name: classes for name, classes in parts.items() if 0 < len(classes) < train.num_classes}
    contrary = neural_collapse.nc4(features, predictions, train.means)
    found: dict[str, Figures] = {"test": {}, "train": {}}
    for name, classes in members.items():
        rows = np.isin(labels, classes)
        found["test"][name] = of_images(test, classes) | of_test_images(features[rows], contrary[rows])
        found["train"][name] = of_images(train, classes) | of_training_images(train, vectors, classes)
    return found


def of_images(images: ClassStatistics, classes: np.ndarray) -> dict[str, Figure]:
    """Compactness, separation and NC1 of some classes of an image set, each seen among all.

    Returns:
        ``within_distance``, ``between_distance``, ``nearest_distance``, ``normalized_variance``, ``within_cosine``,
        ``between_cosine``, ``nearest_cosine`` (:mod:`sar_cls.metrics.separation`) and ``nc1``.
    """
    spread = {
        "within_distance": separation.within_distance(images),
        "normalized_variance": separation.normalized_variance(images),
        "nc1": neural_collapse.nc1(images),
    }
    place = {
        "between_distance": separation.between_distance(images),
        "nearest_distance": separation.nearest_distance(images),
        "nearest_cosine": separation.nearest_cosine(images),
    }
    cosines = {"within_cosine": separation.within_cosine(images), "between_cosine": separation.between_cosine(images)}
    # A figure of a class beside the others needs all of them.
    every = np.arange(images.num_classes)
    few, empty = images.counts < 2, images.counts < 1
    zero = ~empty & np.isnan(images.directions).any(axis=1)
    found = {name: _mean(values, classes, few, every, _SPREAD) for name, values in spread.items()}
    found["within_distance"] = _mean(spread["within_distance"], classes, few, classes, _SPREAD)
    found |= {name: _mean(values, classes, empty, every, _PLACE) for name, values in place.items()}
    for name, values in cosines.items():
        lacking, what = (few, _SPREAD) if name == "within_cosine" else (empty, _PLACE)
        needed = classes if name == "within_cosine" else every
        if zero[needed].any():
            found[name] = _reason(zero, needed, "features that are all zero")
        else:
            found[name] = _mean(values, classes, lacking, needed, what)
    return found


def of_test_images(features: np.ndarray, contrary: np.ndarray) -> dict[str, Figure]:
    """``nc4``, in percent of the images, and ``effective_rank`` of the features [n, D] of some classes."""
    if not len(features):
        return dict.fromkeys(("nc4", "effective_rank"), "no test image")
    images, width = features.shape
    rank: Figure = f"fewer images ({images}) than dimensions ({width}) or as many"
    if images > width:
        rank = _number(effective_rank(features), "all features are the same")
    return {"nc4": 100 * float(contrary.mean()), "effective_rank": rank}


def of_training_images(train: ClassStatistics, vectors: ClassVectors, classes: np.ndarray) -> dict[str, Figure]:
    """What class means, weights and anchors have to do with each other.

    Returns:
        ``nc2_norms``, ``nc2_angles``, ``nc2_simplex`` of the class means, and with ``weight_`` in front of the classifier's
        weights; ``nc3``; ``weight_cosine``; ``dependency`` of the class means (:mod:`sar_cls.metrics.dependency`); and of semantic
        anchors ``anchor_cosine``, ``anchor_distance``, ``anchor_nearest`` (percent of the classes whose mean is nearest to its
        own anchor) and ``anchor_dependency``.
    """
    means, weights = train.means, vectors.weights
    lack = _reason(train.counts < 1, np.arange(train.num_classes), _PLACE)
    found = _simplex(means, classes, lack) | {
        f"weight_{name}": value
        for name, value in _simplex(weights, classes, "" if weights is not None else "no linear classifier").items()
    }
    lack = lack or ("" if weights is not None else "no linear classifier")
    if lack or weights is None:
        found |= dict.fromkeys(("nc3", "weight_cosine"), lack)
    else:
        zero = "means or weights are zero"
        found["nc3"] = _number(neural_collapse.nc3(means, weights, classes), zero)
        found["weight_cosine"] = _number(float(alignment.weight_cosine(means, weights)[classes].mean()), zero)
    lack = _reason(train.counts < 1, np.arange(train.num_classes), _PLACE)
    found["dependency"] = lack or float(dependency.inter_class_dependency(means)[classes].mean())
    return found | _beside_anchors(means, vectors, classes, lack)


def _simplex(vectors: np.ndarray | None, classes: np.ndarray, lack: str) -> dict[str, Figure]:
    if lack or vectors is None:
        return dict.fromkeys(("nc2_norms", "nc2_angles", "nc2_simplex"), lack)
    if len(classes) < 2:
        return dict.fromkeys(("nc2_norms", "nc2_angles", "nc2_simplex"), "a single class has nothing to differ from")
    zero = "one of them is zero"
    angles = "two classes have a single angle"
    return {
        "nc2_norms": _number(neural_collapse.nc2_norms(vectors, classes), "all are zero"),
        "nc2_angles": angles if len(classes) < 3 else _number(neural_collapse.nc2_angles(vectors, classes), zero),
        "nc2_simplex": _number(neural_collapse.nc2_simplex(vectors, classes), zero),
    }


def _beside_anchors(means: np.ndarray, vectors: ClassVectors, classes: np.ndarray, lack: str) -> dict[str, Figure]:
    anchors, names = vectors.anchors, ("anchor_cosine", "anchor_distance", "anchor_nearest", "anchor_dependency")
    if anchors is None:
        return {}  # most methods have none, which needs no words
    if vectors.anchors_set is not None and not vectors.anchors_set.all():
        unset = ~vectors.anchors_set
        everyone = np.arange(len(anchors))
        lack = (
            "the gate never opened, no anchor was ever set"
            if unset.all()
            else _reason(unset, everyone, "no anchor yet")
        )
        return dict.fromkeys(names, lack)
    own = float(dependency.inter_class_dependency(anchors)[classes].mean())
    if lack:
        return dict.fromkeys(names[:3], lack) | {names[3]: own}
    values = (
        _number(float(alignment.anchor_cosine(means, anchors)[classes].mean()), "means or anchors are zero"),
        float(alignment.anchor_distance(means, anchors)[classes].mean()),
        100 * float(alignment.anchor_is_nearest(means, anchors)[classes].mean()),
        own,
    )
    return dict(zip(names, values, strict=True))


def _mean(values: np.ndarray, classes: np.ndarray, lacking: np.ndarray, needed: np.ndarray, what: str) -> Figure:
    """The mean over ``classes``, or that some of the classes that are ``needed`` lack something."""
    reason = _reason(lacking, needed, what)
    return reason or _number(float(values[classes].mean()), "class means coincide or are zero")


def _reason(lacking: np.ndarray, needed: np.ndarray, what: str) -> str:
    """How many of the classes that are needed have only so much, in words; empty where none."""
    number = int(lacking[needed].sum())
    return f"{number} of {len(needed)} classes {'has' if number == 1 else 'have'} {what}" if number else ""


def _number(value: float, otherwise: str) -> Figure:
    return value if np.isfinite(value) else otherwise
