"""CIFAR-100, ResNet-18 with SAR at its default weights.

    python benchmarks/run.py --suite cifar100 --only resnet18 resnet18_sar

Paper (Tab. 8): 78.78 top-1, +0.71 over ResNet-18. The cost is about that of resnet18.py.
"""

_base_ = "./resnet18.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
