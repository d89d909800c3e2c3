"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup with SAR, its gate read class by class.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_sar mixup_sar_per_class
    python longtail/stage1.py --method sar_per_class

The paper's sentence after Eq. 8 reads like this; its published code opens the gate for all classes at once (mixup_sar.py).
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR", gate="per_class")))
