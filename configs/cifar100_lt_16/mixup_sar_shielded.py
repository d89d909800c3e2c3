"""CIFAR-100-LT at 16x16 pixels, imbalance 100, ResNet-20, mixup with SAR, its auxiliary gradient kept out of the classifier.

    python benchmarks/run.py --suite cifar100_lt_16 --only mixup mixup_sar_shielded

No figure of the paper belongs here.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR", aux_to_classifier=False)))
