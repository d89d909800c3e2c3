"""Names of the metrics that a suite can show: those that a record can hold as one number."""

_GROUPS = [f"{group}_shot{how}" for group in ("many", "medium", "few") for how in ("", "_index")]
_CALIBRATION = ["ece", "classwise_ece", "nll", "brier"]

# Of segmentation nets.
_DENSE = (
    *("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"),
    *(f"{group}{how}" for group in ("head", "body", "tail") for how in ("", "_index")),
)

METRICS = (
    *("top1", "top5", "macro", "harmonic_mean", "geometric_mean", "worst_class", "errors_within_superclass"),
    *_CALIBRATION,
    *(f"{name}_calibrated" for name in _CALIBRATION),
    "temperature",
    *_DENSE,
    *_GROUPS,
    *(f"ece_{group}" for group in _GROUPS),
)
