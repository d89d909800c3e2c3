"""CUB-200-2011 on a smaller budget: ResNet-50 at 224 px, 30 epochs. Not the paper's recipe, and a row of its own.

    python benchmarks/run.py --suite cub200 --only resnet50_224 resnet50_224_sar --data-root DIR

A quarter of the pixels and a third of the epochs of resnet50.py; all else is as there. The paper has no figure for this row.
"""

_base_ = "./resnet50.py"

data_preprocessor = dict(crop_size=224)
train_dataloader = dict(dataset=dict(size=256))
train_cfg = dict(max_epochs=30)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=28, by_epoch=True, begin=2, end=30),
]
