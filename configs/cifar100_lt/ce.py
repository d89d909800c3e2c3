"""CIFAR-100-LT, imbalance 100, ResNet-32, plain cross-entropy: the recipe of MiSLAS's first stage without its mixup.

    python benchmarks/run.py --suite cifar100_lt --only ce
    python longtail/stage1.py --method ce

The paper has no figure for this row. 200 epochs of 10,847 images: about an hour on two CPU cores, minutes on a GPU.
"""

# Kaiming-normal weights for the classifier too, as the convolutions have them.
classifier_init = dict(
    type="Kaiming", layer="Linear", mode="fan_in", nonlinearity="leaky_relu", a=0, distribution="normal"
)
model = dict(
    type="ImageClassifier",
    backbone=dict(type="CIFARResNet", depth=32),
    head=dict(
        type="RegularizedLinearClsHead",
        num_classes=100,
        in_channels=64,
        loss=dict(type="CrossEntropyLoss"),
        init_cfg=classifier_init,
    ),
)
# MiSLAS normalises CIFAR-100 by CIFAR-10's mean and std.
data_preprocessor = dict(
    type="BatchPreprocessor",
    mean=[255 * 0.4914, 255 * 0.4822, 255 * 0.4465],
    std=[255 * 0.2023, 255 * 0.1994, 255 * 0.2010],
    padding=4,
    flip=0.5,
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(name="cifar100", longtail=dict(imbalance_factor=100, profile="exponential", seed=0)),
)
val_dataloader = dict(batch_size=500)

train_cfg = dict(type="DeviceTrainLoop", max_epochs=200)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=2e-4),
)
# Epochs 1 to 5 at 0.02, 0.04 ... 0.1; a tenth after epoch 160, a hundredth after 180.
param_scheduler = [
    dict(type="LinearLR", start_factor=0.2, by_epoch=True, begin=0, end=5),
    dict(type="MultiStepLR", milestones=[160, 180], gamma=0.1, by_epoch=True),
]
