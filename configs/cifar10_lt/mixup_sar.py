"""CIFAR-10-LT, imbalance 100, ResNet-32, mixup with SAR.

    python benchmarks/run.py --suite cifar10_lt --only mixup mixup_sar
    python longtail/stage1.py --dataset cifar10 --method sar

The paper has no such table.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
