"""CIFAR-100, ResNet-18, plain cross-entropy: the recipe of resnet50.py with 18 layers.

    python benchmarks/run.py --suite cifar100 --only resnet18

Paper (Tab. 8): 78.07 top-1. 200 epochs; 0.56 GFLOP an image forward: minutes an epoch on two CPU cores, seconds on a GPU.
"""

_base_ = "./resnet50.py"

model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
