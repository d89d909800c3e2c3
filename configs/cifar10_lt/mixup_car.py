"""CIFAR-10-LT, imbalance 100, ResNet-32, mixup with CAR.

    python benchmarks/run.py --suite cifar10_lt --only mixup mixup_car
    python longtail/stage1.py --dataset cifar10 --method car

The paper has no such table.
CAR by its defaults: absent classes take part in no term, no linear layer (mixup_car_published.py: the published setting).
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
