"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup with SAR.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_sar
    python longtail/stage1.py --method sar

Paper (Tab. 10): 40.6 top-1 (+1.1).
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
