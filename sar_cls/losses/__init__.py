"""Classification losses for long-tailed data: pure functions with thin modules round them, one idea a file.

Every module is built with the training counts of the classes and called with (logits [N, C], targets). ``LOSSES`` is the
one place where a new one is added.
"""

from sar_cls.losses.angular_margin import ArcFace, CosFace
from sar_cls.losses.arb import ARBLoss, arb_loss
from sar_cls.losses.base import ClassCountLoss
from sar_cls.losses.class_balanced import ClassBalancedCrossEntropy, effective_number_weights, weighted_cross_entropy
from sar_cls.losses.cross_entropy import cross_entropy
from sar_cls.losses.dot_regression import DotRegression, dot_regression
from sar_cls.losses.focal import FocalLoss, focal_loss
from sar_cls.losses.generalized_reweighting import GeneralizedReweighting, generalized_weights
from sar_cls.losses.label_aware_smoothing import LabelAwareSmoothing, label_aware_smoothing, smoothing_factors
from sar_cls.losses.ldam import LDAM, ldam_loss, ldam_margins
from sar_cls.losses.logit_adjustment import BalancedSoftmax, LogitAdjustment, log_prior, logit_adjusted_cross_entropy

LOSSES: dict[str, type[ClassCountLoss]] = {
    loss.__name__: loss
    for loss in (
        LabelAwareSmoothing,
        ClassBalancedCrossEntropy,
        GeneralizedReweighting,
        FocalLoss,
        LDAM,
        BalancedSoftmax,
        LogitAdjustment,
        ARBLoss,
        CosFace,
        ArcFace,
        DotRegression,
    )
}

__all__ = [
    "LDAM",
    "LOSSES",
    "ARBLoss",
    "ArcFace",
    "BalancedSoftmax",
    "ClassBalancedCrossEntropy",
    "ClassCountLoss",
    "CosFace",
    "DotRegression",
    "FocalLoss",
    "GeneralizedReweighting",
    "LabelAwareSmoothing",
    "LogitAdjustment",
    "arb_loss",
    "cross_entropy",
    "dot_regression",
    "effective_number_weights",
    "focal_loss",
    "generalized_weights",
    "label_aware_smoothing",
    "ldam_loss",
    "ldam_margins",
    "log_prior",
    "logit_adjusted_cross_entropy",
    "smoothing_factors",
    "weighted_cross_entropy",
]
