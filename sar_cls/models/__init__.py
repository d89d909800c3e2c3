"""Models and parts of models that no library has."""

from sar_cls.models.cosine_linear import CosineLinear
from sar_cls.models.disalign import CalibratedLinear, ScoreCalibration, freeze_all_but
from sar_cls.models.fixed_linear import FixedLinear
from sar_cls.models.resnet_cifar import CIFARResNet
from sar_cls.models.shifted_bn import freeze, freeze_with_shifted_bn
from sar_cls.models.virtual_batch_norm import VirtualBatchNorm2d, use_virtual_batches
from sar_cls.models.weight_scaling import ScaledLinear, WeightScaling

__all__ = [
    "CIFARResNet",
    "CalibratedLinear",
    "CosineLinear",
    "FixedLinear",
    "ScaledLinear",
    "ScoreCalibration",
    "VirtualBatchNorm2d",
    "WeightScaling",
    "freeze",
    "freeze_all_but",
    "freeze_with_shifted_bn",
    "use_virtual_batches",
]
