"""CIFAR-100-LT at 16x16 pixels, imbalance 100, ResNet-20, mixup with SAR's auxiliary loss alone: no pull to the anchors.

    python benchmarks/run.py --suite cifar100_lt_16 --only mixup mixup_aux_alone

No figure of the paper belongs here.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR", anchor_weight=0.0)))
