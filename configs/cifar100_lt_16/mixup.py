"""CIFAR-100-LT at 16x16 pixels, imbalance 100, ResNet-20, mixup: the first stage of MiSLAS at a seventh of the cost.

    python benchmarks/run.py --suite cifar100_lt_16

The images of ../cifar100_lt/mixup.py as means over 2x2 pixels, so the crop pads by 2. Long tail, schedule, losses and both stages
are the same. No figure of the paper belongs here. 200 epochs: about a quarter of an hour on two CPU cores.
"""

_base_ = "../cifar100_lt/mixup.py"

model = dict(backbone=dict(depth=20))
data_preprocessor = dict(padding=2)
train_dataloader = dict(dataset=dict(downscale=2))
