"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup with CAR.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_car
    python longtail/stage1.py --method car

Paper (Tab. 10): 38.0 top-1 (-1.5).
CAR by its defaults: absent classes take part in no term, no linear layer (mixup_car_published.py: the published setting).
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
