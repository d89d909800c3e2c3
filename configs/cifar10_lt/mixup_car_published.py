"""CIFAR-10-LT, imbalance 100, ResNet-32, mixup with CAR in the published setting.

    python benchmarks/run.py --suite cifar10_lt --only mixup mixup_car mixup_car_published
    python longtail/stage1.py --dataset cifar10 --method car_published

The paper has no such table.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
