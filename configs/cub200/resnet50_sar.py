"""CUB-200-2011, ResNet-50 with SAR.

    python benchmarks/run.py --suite cub200 --only resnet50 resnet50_sar --data-root DIR

Paper (Tab. 9): 88.44 top-1, +0.25 over ResNet-50. The cost is about that of resnet50.py.
"""

_base_ = "./resnet50.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
