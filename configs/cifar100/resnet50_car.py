"""CIFAR-100, ResNet-50 with CAR at its default weights.

    python benchmarks/run.py --suite cifar100 --only resnet50 resnet50_car

The paper has no figure for this row. The cost is about that of resnet50.py.
CAR by its defaults: absent classes take part in no term, no linear layer (resnet50_car_published.py: the published setting).
"""

_base_ = "./resnet50.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
