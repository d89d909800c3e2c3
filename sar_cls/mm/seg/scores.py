"""Figures of a confusion matrix."""
from __future__ import annotations
from typing import Any
import torch
from torch import Tensor

def evaluate_confusion(matrix: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    m = matrix.double()
    right, true, said = m.diagonal(), m.sum(1), m.sum(0)
    union = true + said - right
    iou = 100 * right / union
    acc = 100 * right / true
    there = true > 0
    return {
        "miou": float(iou[union > 0].mean()),
        "pixel_accuracy": float(100 * right.sum() / m.sum()),
        "mean_accuracy": float(acc[there].mean()),
        "iou": [None if u == 0 else float(v) for v, u in zip(iou, union)],
    }
