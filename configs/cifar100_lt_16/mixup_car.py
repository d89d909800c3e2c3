"""CIFAR-100-LT at 16x16 pixels, imbalance 100, ResNet-20, mixup with CAR.

    python benchmarks/run.py --suite cifar100_lt_16 --only mixup mixup_car

No figure of the paper belongs here.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
