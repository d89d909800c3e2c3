"""The inter-class dependency of Fig. 1 of the paper, as it is read here.

Ge et al. 2024 (https://arxiv.org/abs/2312.11872) print a "class dependency" beside prototypes and semantic anchors and find that of
the anchors "more consistent and weaker", but give no formula. Read here as in CAR (Huang et al. 2022,
https://arxiv.org/abs/2203.07160), the method it is compared with, which regularises the relation between class centres
R = softmax(P P' / sqrt(D)), row by row: what a class's row gives to the other classes is how far it depends on them. "Weaker" is
then a smaller dependency, "more consistent" a smaller spread between seeds and a higher agreement of the class geometry
(:mod:`sar_cls.metrics.agreement`). Another reading, cosines between the centres, is in :mod:`sar_cls.metrics.separation`.
"""

from __future__ import annotations

import numpy as np


def inter_class_dependency(centres: np.ndarray) -> np.ndarray:
    """How far each class depends on the others: 1 - R_cc with R = softmax(P P' / sqrt(D)) over each row, float [C] in [0, 1].

    0: a class is related to itself alone; (C - 1) / C: to all classes alike. It depends on the length of the centres.

    Args:
        centres: float [C, D], class means (prototypes) or semantic anchors, as they are.
    """
    energy = centres @ centres.T / np.sqrt(centres.shape[1])
    own = energy.diagonal().copy()
    # 1 - exp(own) / sum exp = others / (own + others), which keeps its digits where the others are tiny.
    np.fill_diagonal(energy, -np.inf)
    top = np.maximum(energy.max(axis=1), own)
    others = np.exp(energy - top[:, None]).sum(axis=1)
    return others / (others + np.exp(own - top))
