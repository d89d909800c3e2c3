"""Digits, plain cross-entropy: the embedded default, real 8x8 images that come with scikit-learn.

    python benchmarks/run.py --suite digits --only baseline

The paper has no such table. Expected: about 99 % top-1; a few seconds on two CPU cores.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="CIFARResNet", depth=8),
    head=dict(type="RegularizedLinearClsHead", num_classes=10, in_channels=64, loss=dict(type="CrossEntropyLoss")),
)
data_preprocessor = dict(type="BatchPreprocessor", mean=[77.85] * 3, std=[95.90] * 3, padding=1)

train_dataloader = dict(batch_size=64, dataset=dict(name="digits"))
val_dataloader = dict(batch_size=512)

train_cfg = dict(type="DeviceTrainLoop", max_epochs=20)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
param_scheduler = dict(type="CosineAnnealingLR", T_max=20, by_epoch=True)
