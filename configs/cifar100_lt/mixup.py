"""CIFAR-100-LT, imbalance 100, ResNet-32, mixup (alpha = 1): the first stage of MiSLAS.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_mislas
    python longtail/stage1.py --method mixup

Paper (Tab. 10): 39.5 top-1, the figure that MiSLAS publishes (best test epoch; its ECE: 8.82).
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(type="CrossEntropyLoss", use_soft=True)))
data_preprocessor = dict(mixup_alpha=1.0, num_classes=100)
