"""DisAlign at 16x16 pixels: see ../cifar100_lt/disalign.py for what it does.

    python benchmarks/run.py --suite cifar100_lt_16 --only mixup mixup_disalign

No figure of the paper belongs here.
"""

_base_ = "../cifar100_lt/disalign.py"

model = dict(backbone=dict(depth=20))
data_preprocessor = dict(padding=2)
train_dataloader = dict(dataset=dict(downscale=2))
