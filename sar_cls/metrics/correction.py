"""What can be done to a trained classifier without training: adjust logits, normalize weights, fit a temperature."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls.losses.base import ClassCounts
from sar_cls.losses.logit_adjustment import log_prior

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


def adjust_logits(logits: Tensor, class_counts: ClassCounts, tau: float = 1.0) -> Tensor:
    """Post-hoc logit adjustment: ``z_c - tau log pi_c``.

    Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021, Eq. 9 (https://arxiv.org/abs/2007.07314).

    Args:
        logits: [*, C] of a network trained with plain cross-entropy.
        class_counts: Training images per class [C]; pi is their share.
        tau: Strength.

    Returns:
        [*, C], float32 (float64 for float64 logits).

    Raises:
        ValueError: Counts of another number of classes, or a class without an image.
    """
    prior = log_prior(class_counts)
    if logits.shape[-1] != len(prior):
        raise ValueError(f"The logits have {logits.shape[-1]} classes but there are {len(prior)} class counts.")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits - tau * prior.to(logits)


def tau_normalize(weight: Tensor, tau: float = 1.0) -> Tensor:
    """Class weights divided by a power of their norm: ``w_c / ||w_c||^tau``.

    Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, tau-normalized
    classifier (https://arxiv.org/abs/1910.09217).

    Args:
        weight: [C, D].
        tau: 0 changes nothing, 1 gives all classes norm 1; chosen on validation data.

    Returns:
        [C, D]; a class whose weight is zero stays zero.
    """
    norm = weight.norm(dim=1, keepdim=True)
    return weight / norm.where(norm > 0, 1.0) ** tau


def tau_normalized_linear(classifier: nn.Linear, tau: float = 1.0, keep_bias: bool = False) -> nn.Linear:
    """A copy of a linear classifier with tau-normalized weights; the bias becomes zero, as the paper drops it.

    Args:
        classifier: Left as it is.
        tau: See ``tau_normalize``.
        keep_bias: Whether to keep the bias as it is.
    """
    normalized = copy.deepcopy(classifier)
    with torch.no_grad():
        normalized.weight.copy_(tau_normalize(classifier.weight, tau))
        if normalized.bias is not None and not keep_bias:
            normalized.bias.zero_()
    return normalized


ANCHOR_DISTANCES = ("cosine", "euclidean")


def anchor_logits(features: Tensor, anchors: Tensor, distance: str = "cosine", scale: float = 10.0) -> Tensor:
    """Class scores by how near features are to class anchors: the semantic anchors of SAR as a classifier at test time.

    Ge et al. 2024 leave the anchors unused at test time and say that they may help (App. D.1, D.2); how is our reading.

    Args:
        features: [n, D].
        anchors: [C, D].
        distance: ``"cosine"``: ``scale * cos(f, a_c)``. ``"euclidean"``: ``-1/2 ||f - a_c||^2``, the log-likelihood of a unit
            Gaussian round each anchor, up to a constant.
        scale: of the cosines; without meaning for which class is the nearest.

    Returns:
        [n, C], float32 (float64 for float64 features).

    Raises:
        ValueError: an unknown distance, or shapes that do not fit.
    """
    if distance not in ANCHOR_DISTANCES:
        raise ValueError(f"unknown distance {distance!r}: choose one of {', '.join(ANCHOR_DISTANCES)}")
    if features.ndim != 2 or anchors.ndim != 2 or features.shape[1] != anchors.shape[1]:
        raise ValueError(
            f"Need features [n, D] and anchors [C, D], not {list(features.shape)} and {list(anchors.shape)}."
        )
    features = features if features.dtype == torch.float64 else features.float()
    anchors = anchors.to(features)
    if distance == "cosine":
        return scale * F.linear(F.normalize(features, dim=1), F.normalize(anchors, dim=1))
    # Without the features' own length, which is the same for all classes.
    return features @ anchors.T - 0.5 * anchors.square().sum(dim=1)


def mixed_log_probabilities(logits: Tensor, others: Tensor, share: float) -> Tensor:
    """``log( (1 - share) softmax(logits) + share softmax(others) )``; [n, C].

    Args:
        logits: [n, C].
        others: [n, C].
        share: of the second, from 0 to 1.

    Raises:
        ValueError: a share out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"A share is from 0 to 1, not {share}.")
    first, second = logits.log_softmax(dim=1), others.log_softmax(dim=1)
    if share in (0, 1):  # the logarithm of a share of 0 would be the one infinity in a sum
        return second if share else first
    return torch.logaddexp(first + math.log(1 - share), second + math.log(share))


def fit_temperature(logits: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> float:
    """The temperature T that minimizes the negative log-likelihood of ``softmax(z / T)``.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 9 (https://arxiv.org/abs/1706.04599). The
    likelihood is convex in 1 / T, hence has one minimum, found by a bounded search over log T.

    Args:
        logits: [n, C] of images that were not trained on (a validation split, not the test set).
        labels: [n] integers.

    Returns:
        T in [0.01, 100]; an end of it where the minimum lies beyond (every image right, or logits worse than none).

    Raises:
        ValueError: Shapes that do not fit, no image, or logits that are not finite.
    """
    from scipy.optimize import minimize_scalar

    scores = torch.as_tensor(logits).detach().double().cpu()
    targets = torch.as_tensor(labels).cpu().long()
    if scores.ndim != 2 or targets.shape != scores.shape[:1] or not len(scores):
        raise ValueError(f"Need logits [n, C] and labels [n], not {list(scores.shape)} and {list(targets.shape)}.")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("The logits are not all finite, so no temperature fits; check the run.")

    def nll(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / np.exp(log_temperature), targets))

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    inside = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x
    # The search never returns a bound itself.
    return float(np.exp(min((*bounds, inside), key=nll)))


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """``z / T`` in float32 (float64 for float64 logits).

    Raises:
        ValueError: T is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"A temperature is positive, not {temperature}.")
    return (logits if logits.dtype == torch.float64 else logits.float()) / temperature
