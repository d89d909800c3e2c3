"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup with CAR in the published setting.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_car mixup_car_published
    python longtail/stage1.py --method car_published

The paper's 38.0 does not say which setting it is of.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
