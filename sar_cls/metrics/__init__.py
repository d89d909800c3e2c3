"""What a classifier's logits say, of images or of pixels, and what can be put right about them without training."""

from sar_cls.metrics.accuracy import (
    FEW_SHOT_BELOW,
    INDEX_GROUPS,
    MANY_SHOT_ABOVE,
    calibration_error,
    correct_at_k,
    evaluate,
    evaluate_calibrated,
    mean_class_accuracy,
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
from sar_cls.metrics.segmentation import (
    ADE20K_GROUPS,
    ConfusionMatrix,
    count_pixels,
    evaluate_segmentation,
    frequency_groups,
)

__all__ = [
    "ADE20K_GROUPS",
    "FEW_SHOT_BELOW",
    "INDEX_GROUPS",
    "MANY_SHOT_ABOVE",
    "ConfusionMatrix",
    "adjust_logits",
    "apply_temperature",
    "calibration_error",
    "correct_at_k",
    "count_pixels",
    "evaluate",
    "evaluate_calibrated",
    "evaluate_segmentation",
    "fit_temperature",
    "frequency_groups",
    "mean_class_accuracy",
    "per_class_accuracy",
    "reliability_bins",
    "shot_groups",
    "tau_normalize",
    "tau_normalized_linear",
    "topk_accuracy",
]
