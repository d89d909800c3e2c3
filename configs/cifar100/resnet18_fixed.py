"""CIFAR-100, ResNet-18 with FixedAnchors at its default weights.

    python benchmarks/run.py --suite cifar100 --only resnet18 resnet18_fixed

The paper has no figure for this row. The cost is about that of resnet18.py.
"""

_base_ = "./resnet18.py"

model = dict(head=dict(regularizer=dict(type="FixedAnchors")))
