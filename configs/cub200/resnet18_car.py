"""CUB-200-2011, ResNet-18 with CAR.

    python benchmarks/run.py --suite cub200 --only resnet18 resnet18_car --data-root DIR

The paper has no figure for this row. The cost is about that of resnet18.py.
CAR by its defaults: absent classes take part in no term, no linear layer (resnet18_car_published.py: the published setting).
"""

_base_ = "./resnet18.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
