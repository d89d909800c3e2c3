"""The geometry of features against slow references, by group, and in words where there is no number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.metrics.class_statistics import ClassStatistics, class_statistics
from sar_cls.metrics.geometry import ClassVectors, geometry

from . import geometry_references as slow


@dataclass
class Made:
    """Features of C classes with a long tail in training."""

    features: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    train_features: np.ndarray
    train_labels: np.ndarray
    train: ClassStatistics
    vectors: ClassVectors


GROUPS = {"many_shot": np.array([0, 1, 2]), "medium_shot": np.array([], dtype=int), "few_shot": np.array([3, 4])}


def made(width: int = 6, classes: int = 5, per_class: int = 9, seed: int = 0, anchors: bool = True) -> Made:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width)) + 0.5
    labels = rng.permutation(np.repeat(np.arange(classes), per_class))
    train_labels = np.repeat(np.arange(classes), [12 - 2 * c for c in range(classes)])
    test, train = (centres[y] + 0.7 * rng.normal(size=(len(y), width)) for y in (labels, train_labels))
    vectors = ClassVectors(rng.normal(size=(classes, width)), centres + 0.3 if anchors else None)
    predictions = rng.integers(0, classes, len(labels))
    return Made(test, labels, predictions, train, train_labels, class_statistics(train, train_labels, classes), vectors)


def figures(case: Made, **groups: Any) -> dict[str, Any]:
    return geometry(case.features, case.labels, case.predictions, case.train, case.vectors, groups or GROUPS)


def slow_figures(features: np.ndarray, labels: np.ndarray, members: list[int]) -> dict[str, float]:
    """Compactness, separation and NC1 of some of five classes."""
    own, means = slow.by_class(features, labels, 5), slow.means_of(features, labels, 5)
    variances = [slow.variance(images) for images in own]
    distances = [[slow.norm(a - b) for b in means] for a in means]
    rows: dict[str, list[float]] = {}
    for c in members:
        others = [other for other in range(5) if other != c]
        pairs = [(variances[c] + variances[other]) / (2 * distances[c][other] ** 2) for other in others]
        row = {
            "within_distance": np.sqrt(variances[c]),
            "between_distance": np.mean([distances[c][other] for other in others]),
            "nearest_distance": min(distances[c][other] for other in others),
            "normalized_variance": np.mean(pairs),
            "within_cosine": slow.mean_pair_cosine(own[c]),
            "between_cosine": np.mean([slow.mean_pair_cosine(own[c], own[other]) for other in others]),
            "nearest_cosine": max(slow.cosine(means[c], means[other]) for other in others),
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in rows.items()} | {
        "nc1": slow.nc1(features, labels, 5, members)
    }


@pytest.mark.parametrize("width", [3, 6, 11], ids=["D < C - 1", "D > C", "D > n of a group"])
@pytest.mark.parametrize("group", ["all", "many_shot", "few_shot"])
def test_every_figure_against_the_slow_ones(width: int, group: str) -> None:
    case = made(width, per_class=5)
    found = figures(case)
    members = list(range(5)) if group == "all" else GROUPS[group].tolist()
    sets = {"test": (case.features, case.labels), "train": (case.train_features, case.train_labels)}
    for split, (features, labels) in sets.items():
        expected = slow_figures(features, labels, members)
        assert {name: found[split][group][name] for name in expected} == pytest.approx(expected, rel=1e-7)

    means, weights, anchors = case.train.means, case.vectors.weights, case.vectors.anchors
    assert weights is not None
    assert anchors is not None
    rows = [index for index, label in enumerate(case.labels) if label in members]
    test = {"nc4": 100 * np.mean([slow.nearest(case.features[i], means) != case.predictions[i] for i in rows])}
    assert found["test"][group]["nc4"] == pytest.approx(test["nc4"])
    test["effective_rank"] = slow.rank(case.features[rows])
    if len(rows) > width:  # else in words, see below
        assert found["test"][group]["effective_rank"] == pytest.approx(test["effective_rank"], rel=1e-7)
    centred = means - means.mean(axis=0)
    train = {
        **dict(zip(("nc2_norms", "nc2_angles", "nc2_simplex"), slow.nc2(means, members), strict=True)),
        **dict(
            zip(
                ("weight_nc2_norms", "weight_nc2_angles", "weight_nc2_simplex"), slow.nc2(weights, members), strict=True
            )
        ),
        "nc3": slow.nc3(means, weights, members),
        "weight_cosine": np.mean([slow.cosine(centred[c], weights[c]) for c in members]),
        "dependency": np.mean([slow.dependency(means, c) for c in members]),
        "anchor_cosine": np.mean([slow.cosine(means[c], anchors[c]) for c in members]),
        "anchor_distance": np.mean([slow.norm(means[c] - anchors[c]) for c in members]),
        "anchor_nearest": 100 * np.mean([slow.nearest(means[c], anchors) == c for c in members]),
        "anchor_dependency": np.mean([slow.dependency(anchors, c) for c in members]),
    }
    if len(members) == 2:  # in words, see below
        train |= {name: found["train"][group][name] for name in ("nc2_angles", "weight_nc2_angles")}
    numbers = {name: value for name, value in train.items() if not isinstance(value, str)}
    assert {name: found["train"][group][name] for name in numbers} == pytest.approx(numbers, rel=1e-7)
    assert {*found["train"][group]} == {*expected, *train}
    assert {*found["test"][group]} == {*expected, *test}


def test_groups() -> None:
    found = figures(made())
    assert list(found["test"]) == ["all", "many_shot", "few_shot"]  # without the empty one
    assert list(figures(made(), many_shot=np.arange(5))["test"]) == ["all"]  # which is the same


class TestInWords:
    def test_fewer_images_than_dimensions(self) -> None:
        found = figures(made(width=20, per_class=5))["test"]
        assert isinstance(found["all"]["effective_rank"], float)
        assert found["few_shot"]["effective_rank"] == "fewer images (10) than dimensions (20) or as many"

    def test_a_class_with_one_training_image(self) -> None:
        case = made()
        one = np.concatenate([np.flatnonzero(case.train_labels != 4), np.flatnonzero(case.train_labels == 4)[:1]])
        case.train = class_statistics(case.train_features[one], case.train_labels[one], 5)
        found = figures(case)["train"]
        for group in ("all", "many_shot", "few_shot"):
            assert found[group]["nc1"] == "1 of 5 classes has fewer than two images"
            assert isinstance(found[group]["between_distance"], float)
            assert isinstance(found[group]["nc3"], float)
        assert isinstance(found["many_shot"]["within_cosine"], float)
        assert found["few_shot"]["within_distance"] == "1 of 2 classes has fewer than two images"

    def test_classes_without_images(self) -> None:
        case = made()
        kept = case.labels < 3
        case.features, case.labels, case.predictions = case.features[kept], case.labels[kept], case.predictions[kept]
        found = figures(case)["test"]
        assert found["all"]["between_distance"] == "2 of 5 classes have no image"
        assert found["all"]["nc1"] == "2 of 5 classes have fewer than two images"
        assert isinstance(found["many_shot"]["within_distance"], float)
        assert found["few_shot"]["nc4"] == found["few_shot"]["effective_rank"] == "no test image"

    def test_no_training_image(self) -> None:
        case = made()
        kept = case.train_labels > 0
        case.train = class_statistics(case.train_features[kept], case.train_labels[kept], 5)
        found = figures(case)["train"]["all"]
        for name in ("nc2_norms", "nc2_angles", "nc3", "weight_cosine", "dependency", "anchor_cosine"):
            assert found[name] == "1 of 5 classes has no image"
        assert isinstance(found["weight_nc2_norms"], float)
        assert isinstance(found["anchor_dependency"], float)

    def test_no_classifier_and_no_anchors(self) -> None:
        case = made(anchors=False)
        case.vectors = ClassVectors()
        found = figures(case)["train"]["all"]
        assert found["nc3"] == found["weight_cosine"] == found["weight_nc2_angles"] == "no linear classifier"
        assert not [name for name in found if name.startswith("anchor")]

    @pytest.mark.parametrize(
        ("is_set", "reason"),
        [
            ([False] * 5, "the gate never opened, no anchor was ever set"),
            ([True] * 4 + [False], "1 of 5 classes has no anchor yet"),
        ],
    )
    def test_anchors_that_were_never_set(self, is_set: list[bool], reason: str) -> None:
        case = made()
        case.vectors = ClassVectors(case.vectors.weights, case.vectors.anchors, np.array(is_set))
        found = figures(case)["train"]["few_shot"]
        assert found["anchor_cosine"] == found["anchor_dependency"] == reason

    def test_a_net_that_sees_nothing(self) -> None:
        case = made()
        case.features = np.zeros_like(case.features)
        case.train = class_statistics(np.zeros_like(case.train_features), case.train_labels, 5)
        found = figures(case)
        assert found["test"]["all"]["effective_rank"] == "all features are the same"
        assert found["test"]["all"]["within_cosine"] == "5 of 5 classes have features that are all zero"
        assert found["train"]["all"]["nc3"] == "means or weights are zero"
        assert found["train"]["all"]["nc2_norms"] == "all are zero"
        assert found["train"]["all"]["normalized_variance"] == "class means coincide or are zero"

    def test_groups_of_one_and_two_classes(self) -> None:
        one = figures(made(), few_shot=np.array([4]))["train"]["few_shot"]
        for name in ("nc2_norms", "nc2_angles", "nc2_simplex", "weight_nc2_norms"):
            assert one[name] == "a single class has nothing to differ from"
        two = figures(made())["train"]["few_shot"]
        assert two["nc2_angles"] == "two classes have a single angle"
        assert two["nc2_norms"] > 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.1, 10))
def test_what_a_rotation_and_a_scale_do(seed: int, scale: float) -> None:
    case = made(seed=seed)
    rotation = scale * np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert case.vectors.weights is not None
    assert case.vectors.anchors is not None
    turned = Made(
        case.features @ rotation,
        case.labels,
        case.predictions,
        case.train_features @ rotation,
        case.train_labels,
        class_statistics(case.train_features @ rotation, case.train_labels, 5),
        ClassVectors(case.vectors.weights @ rotation, case.vectors.anchors @ rotation),
    )
    before, after = figures(case), figures(turned)
    for split, groups in before.items():
        for group, values in groups.items():
            for name, value in values.items():
                if "dependency" in name or isinstance(value, str):
                    continue  # depends on the scale, as its docstring says
                factor = scale if name.endswith("distance") else 1
                assert after[split][group][name] == pytest.approx(factor * value, rel=1e-6, abs=1e-9), name


def test_a_collapsed_net() -> None:
    """Class means at a simplex, weights along them, no spread: all four are zero."""
    simplex = np.sqrt(5 / 4) * (np.eye(5) - 1 / 5)
    labels = np.repeat(np.arange(5), 30)
    features = simplex[labels] + 7.0
    train = class_statistics(features, labels, 5)
    found = geometry(features, labels, labels, train, ClassVectors(3 * simplex), GROUPS)
    for group in ("all", "many_shot", "few_shot"):
        figures_of = {**found["train"][group], **found["test"][group]}
        for name in ("nc1", "nc2_norms", "nc2_angles", "nc2_simplex", "nc3", "nc4", "within_distance"):
            if group == "few_shot" and name == "nc2_angles":
                continue  # a single angle
            assert figures_of[name] == pytest.approx(0, abs=1e-9), name
        assert figures_of["weight_cosine"] == pytest.approx(1)
        assert figures_of["within_cosine"] == pytest.approx(1)
