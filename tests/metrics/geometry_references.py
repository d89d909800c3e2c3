"""Every figure of the geometry once more, slowly: loops over images, pairs and entries, straight from the formulas."""

from __future__ import annotations

import math

import numpy as np


def norm(vector: np.ndarray) -> float:
    return math.sqrt(sum(float(value) ** 2 for value in vector))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.dot(one, other)) / (norm(one) * norm(other))


def by_class(features: np.ndarray, labels: np.ndarray, classes: int) -> list[list[np.ndarray]]:
    return [[f for f, y in zip(features, labels, strict=True) if y == c] for c in range(classes)]


def means_of(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    return np.array([sum(own) / len(own) for own in by_class(features, labels, classes)])


def variance(own: list[np.ndarray]) -> float:
    mean = sum(own) / len(own)
    return sum(norm(f - mean) ** 2 for f in own) / (len(own) - 1)


def mean_pair_cosine(ours: list[np.ndarray], theirs: list[np.ndarray] | None = None) -> float:
    """Over different images of one class, or over images of two classes."""
    if theirs is None:
        pairs = [(a, b) for i, a in enumerate(ours) for j, b in enumerate(ours) if i != j]
    else:
        pairs = [(a, b) for a in ours for b in theirs]
    return sum(cosine(a, b) for a, b in pairs) / len(pairs)


def nc1(features: np.ndarray, labels: np.ndarray, classes: int, members: list[int]) -> float:
    """tr(S_W S_B^+) / C with S_W over the members' classes, S_B over all."""
    means, width = means_of(features, labels, classes), features.shape[1]
    centre = sum(means) / classes
    between, within = np.zeros((2, width, width))
    for mean in means:
        between += np.outer(mean - centre, mean - centre) / classes
    for c in members:
        own = by_class(features, labels, classes)[c]
        for f in own:
            within += np.outer(f - means[c], f - means[c]) / (len(own) - 1) / len(members)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10, hermitian=True))) / classes


def centred_rows(vectors: np.ndarray, members: list[int]) -> list[np.ndarray]:
    centre = sum(vectors) / len(vectors)
    return [vectors[c] - centre for c in members]


def nc2(vectors: np.ndarray, members: list[int]) -> tuple[float, float, float]:
    rows = centred_rows(vectors, members)
    lengths = [norm(row) for row in rows]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths)) / mean
    cosines = [cosine(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    middle = sum(cosines) / len(cosines)
    angles = math.sqrt(sum((c - middle) ** 2 for c in cosines) / len(cosines))
    return spread, angles, sum(abs(c + 1 / (len(vectors) - 1)) for c in cosines) / len(cosines)


def nc3(means: np.ndarray, weights: np.ndarray, members: list[int]) -> float:
    ours, theirs = centred_rows(means, members), [weights[c] for c in members]
    lengths = [math.sqrt(sum(norm(row) ** 2 for row in rows)) for rows in (ours, theirs)]
    return sum(norm(a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(ours, theirs, strict=True))


def nearest(feature: np.ndarray, centres: np.ndarray) -> int:
    distances = [norm(feature - centre) for centre in centres]
    return distances.index(min(distances))


def dependency(centres: np.ndarray, c: int) -> float:
    weights = [math.exp(float(np.dot(centres[c], other)) / math.sqrt(centres.shape[1])) for other in centres]
    return (sum(weights) - weights[c]) / sum(weights)


def rank(vectors: np.ndarray) -> float:
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    shares = [value / values.sum() for value in values if value > 1e-9 * values[0]]
    return math.exp(-sum(share * math.log(share) for share in shares))


def agreement(ours: np.ndarray, theirs: np.ndarray, members: list[int]) -> float:
    """Pearson's correlation of the products of different classes' centred vectors."""
    columns = []
    for vectors in (ours, theirs):
        rows = centred_rows(vectors, members)
        columns.append([float(np.dot(rows[i], rows[j])) for i in range(len(rows)) for j in range(i)])
    return float(np.corrcoef(columns)[0, 1])
