"""CUB-200-2011, ResNet-18, plain cross-entropy: the recipe of resnet50.py with 18 layers.

    python benchmarks/run.py --suite cub200 --only resnet18 --data-root DIR

Paper (Tab. 9): 83.10 top-1. mmpretrain has no such config and the paper does not say which weights it starts from: here
ImageNet-1k, torchvision's by way of timm (--weights takes others).
"""

_base_ = "./resnet50.py"

weights = "timm:resnet18.tv_in1k"
model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
