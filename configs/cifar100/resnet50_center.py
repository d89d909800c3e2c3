"""CIFAR-100, ResNet-50 with CenterLoss at its default weights.

    python benchmarks/run.py --suite cifar100 --only resnet50 resnet50_center

The paper has no figure for this row. The cost is about that of resnet50.py.
"""

_base_ = "./resnet50.py"

model = dict(head=dict(regularizer=dict(type="CenterLoss")))
