"""How bad the mistakes are: the share of them that stay inside the right superclass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def errors_within_superclass(predictions: Tensor, labels: Tensor, superclasses: Sequence[int]) -> float | None:
    """Of the wrongly classified images, those whose predicted class has the superclass of the right one, in percent.

    A classifier whose mistakes are random hits the superclass of CIFAR-100 in 4 of 99 cases. Compare rows of like accuracy:
    fewer mistakes are harder ones.

    Args:
        predictions: predicted classes [n] int64.
        labels: right classes [n] int64.
        superclasses: for each class the number of its superclass.

    Returns:
        Percent; None where nothing is wrong.

    Raises:
        ValueError: shapes that do not fit, or a class without a superclass.
    """
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"Need predictions and labels [n], not {list(predictions.shape)} and {list(labels.shape)}.")
    home = torch.as_tensor(superclasses, device=labels.device)
    highest = max(int(part.max()) if len(part) else -1 for part in (predictions, labels))
    if highest >= len(home):
        raise ValueError(f"Class {highest} has no superclass: there are {len(home)}.")
    wrong = predictions != labels
    if not bool(wrong.any()):
        return None
    near = home[predictions[wrong]] == home[labels[wrong]]
    return 100.0 * float(near.double().mean())
