"""CUB-200-2011, ResNet-18 with SAR.

    python benchmarks/run.py --suite cub200 --only resnet18 resnet18_sar --data-root DIR

Paper (Tab. 9): 84.16 top-1, +1.06 over ResNet-18. The cost is about that of resnet18.py.
"""

_base_ = "./resnet18.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
