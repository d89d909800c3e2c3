"""What a classifier's logits say, and what can be put right about them without training."""

from sar_cls.metrics.accuracy import (
    FEW_SHOT_BELOW,
    INDEX_GROUPS,
    MANY_SHOT_ABOVE,
    calibration_error,
    correct_at_k,
    evaluate,
    evaluate_calibrated,
    per_class_accuracy,
    reliability_bins,
    shot_groups,
    topk_accuracy,
)
from sar_cls.metrics.correction import (
    adjust_logits,
    apply_temperature,
    fit_temperature,
    tau_normalize,
    tau_normalized_linear,
)

__all__ = [
    "FEW_SHOT_BELOW",
    "INDEX_GROUPS",
    "MANY_SHOT_ABOVE",
    "adjust_logits",
    "apply_temperature",
    "calibration_error",
    "correct_at_k",
    "evaluate",
    "evaluate_calibrated",
    "fit_temperature",
    "per_class_accuracy",
    "reliability_bins",
    "shot_groups",
    "tau_normalize",
    "tau_normalized_linear",
    "topk_accuracy",
]
