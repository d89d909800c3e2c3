"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup with SAR, its anchor weights w read as constants.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_sar mixup_sar_constant_weights
    python longtail/stage1.py --method sar_constant_weights

The paper's Eq. 5-7 read like this; in its published code the gradient of the auxiliary loss also flows through the weights
(mixup_sar.py), which pushes well classified anchors away as soon as one is badly classified.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR", grad_through_weights=False)))
