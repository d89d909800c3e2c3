"""Pre-trained weights in the layouts of torchvision, timm and mmpretrain."""

from sar_cls.weights.load import WeightReport, load_weights, look_up_weights

__all__ = ["WeightReport", "load_weights", "look_up_weights"]
