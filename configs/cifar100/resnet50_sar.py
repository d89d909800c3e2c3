"""CIFAR-100, ResNet-50 with SAR at its default weights.

    python benchmarks/run.py --suite cifar100 --only resnet50 resnet50_sar

Paper (Tab. 8): 80.47 top-1, +0.57 over ResNet-50. The cost is about that of resnet50.py.
"""

_base_ = "./resnet50.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
