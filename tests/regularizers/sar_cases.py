"""What the tests of SAR share: nets drawn in float64, and classifiers by which a test decides what is accepted."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from sar_cls import SAR

from . import reference
from .batches import numpy

SHAPES = [(2, 3, 4), (5, 4, 3), (3, 2, 1), (6, 8, 16)]  # (C, D, N): C > N, N = 1, C > D, roomy


def blocks_of(sar: SAR) -> list[dict[str, np.ndarray]]:
    """The parameters of the embedding as the reference wants them."""
    layers = list(sar.embedding)
    return [
        {
            "weight": numpy(layers[i].weight),
            "bias": numpy(layers[i].bias),
            "gamma": numpy(layers[i + 1].weight),
            "beta": numpy(layers[i + 1].bias),
        }
        for i in (0, 3)
    ]


def embed(sar: SAR) -> Tensor:
    """h(A) in training mode, without touching the module's state."""
    with torch.no_grad():
        return copy.deepcopy(sar).train().embedding(sar.class_anchors)


def nearest_anchor_classifier(sar: SAR, sharpness: float) -> nn.Linear:
    """A linear classifier whose likeliest class is that of the nearest embedded anchor: right for every anchor.

    A small tilt keeps the probabilities of two classes from being equal.
    """
    embedded = embed(sar)
    classifier = nn.Linear(sar.feat_dim, sar.num_classes).to(embedded)
    with torch.no_grad():
        classifier.weight.copy_(2 * sharpness * embedded)
        classifier.bias.copy_(
            -sharpness * embedded.square().sum(dim=1) + 0.02 * torch.arange(len(embedded)).to(embedded)
        )
    return classifier


def probs_of(sar: SAR, classifier: nn.Linear) -> tuple[np.ndarray, list[bool]]:
    embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
    return reference.right_probs(embedded, numpy(classifier.weight), numpy(classifier.bias))


def between(values: np.ndarray, rank: int) -> float:
    """A threshold with ``rank`` of the values below it."""
    ordered = np.sort(values)
    return float((ordered[rank - 1] + ordered[rank]) / 2)


def jitter(module: nn.Module, scale: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


def make(shape: tuple[int, int, int], device: torch.device, **arguments: object) -> SAR:
    torch.manual_seed(sum(shape))
    sar = SAR(shape[0], shape[1], **arguments).double().to(device)
    jitter(sar, 0.3)
    with torch.no_grad():
        sar.embedding[4].bias.add_(2)  # few channels cut off by the last ReLU, so that no two anchors coincide
    return sar


class Table(nn.Module):
    """A "classifier" that answers with fixed logits, so that a test decides every probability."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, embedded: Tensor) -> Tensor:
        return self.logits + 0 * embedded.sum()


def table_of_probs(probs: list[float], device: torch.device) -> Table:
    """Anchor i gets its class with probability probs[i]; the others share the rest evenly."""
    num_classes = len(probs)
    table = torch.empty(num_classes, num_classes, dtype=torch.float64)
    for i, p in enumerate(probs):
        table[i] = math.log((1 - p) / (num_classes - 1))
        table[i, i] = math.log(p)
    return Table(table.to(device))
