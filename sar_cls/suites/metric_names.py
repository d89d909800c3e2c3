"""Names of the metrics that a suite can show: those that a record can hold as one number."""

_GROUPS = [f"{group}_shot{how}" for group in ("many", "medium", "few") for how in ("", "_index")]
_CALIBRATION = ["ece", "classwise_ece", "nll", "brier"]

# Of segmentation nets.
_DENSE = ("miou", "pixel_accuracy", "mean_accuracy", "head_miou", "body_miou", "tail_miou")

METRICS = (
    *("top1", "top5", "macro", "harmonic_mean", "geometric_mean", "worst_class"),
    *_CALIBRATION,
    *(f"{name}_calibrated" for name in _CALIBRATION),
    "temperature",
    *_DENSE,
    *_GROUPS,
    *(f"ece_{group}" for group in _GROUPS),
)
