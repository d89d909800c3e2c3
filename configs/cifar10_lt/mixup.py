"""CIFAR-10-LT, imbalance 100, ResNet-32, mixup: the recipe of CIFAR-100-LT.

    python benchmarks/run.py --suite cifar10_lt --only mixup
    python longtail/stage1.py --dataset cifar10 --method mixup

The paper has no such table; MiSLAS publishes CIFAR-10-LT for its own two stages.
"""

_base_ = "../cifar100_lt/mixup.py"

model = dict(head=dict(num_classes=10))
data_preprocessor = dict(num_classes=10)
train_dataloader = dict(dataset=dict(name="cifar10"))
