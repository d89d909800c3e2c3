"""What can be done to a trained classifier without training: adjust logits, normalize weights, fit a temperature."""

from __future__ import annotations

import copy

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
