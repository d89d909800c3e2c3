"""Batches drawn in float64, with what the loops of ``reference.py`` take of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import reference


def numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def draw_batch(shape: tuple[int, int, int], soft: bool, device: torch.device) -> tuple[Tensor, Tensor, np.ndarray]:
    """Features, targets and the label weights of the reference."""
    num_classes, feat_dim, num_samples = shape
    features = torch.randn(num_samples, feat_dim, dtype=torch.float64)
    labels = torch.randint(num_classes, (num_samples,))
    if not soft:
        return features.to(device), labels.to(device), reference.one_hot(labels.numpy(), num_classes)
    targets = torch.rand(num_samples, num_classes, dtype=torch.float64) ** 3 + 0.01
    targets = targets / targets.sum(dim=1, keepdim=True)
    return features.to(device), targets.to(device), targets.numpy()
