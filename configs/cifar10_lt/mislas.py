"""The second stage of MiSLAS on CIFAR-10-LT: the recipe of CIFAR-100-LT.

    python benchmarks/run.py --suite cifar10_lt --only mixup mixup_mislas
    python longtail/stage2.py --stage1 RUN --method mislas

The paper has no such table. MiSLAS smooths CIFAR-10-LT by 0.3 (head) and 0 (tail) at imbalance 100.
"""

_base_ = "../cifar100_lt/mislas.py"

model = dict(head=dict(num_classes=10, loss=dict(smooth_head=0.3, smooth_tail=0.0)))
train_dataloader = dict(dataset=dict(name="cifar10"))
