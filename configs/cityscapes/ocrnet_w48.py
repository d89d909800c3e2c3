"""Cityscapes, OCRNet on HRNetV2-W48.

    python benchmarks/run.py --suite cityscapes --only ocrnet_w48 --data-root DIR

mmseg's `ocrnet/ocrnet_hr48_4xb2-80k_cityscapes-512x1024`, its batch of 4 x 2 on one device: 8 in total. The paper's figures
(Tab. 1): 80.7, with SAR 81.7. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days
of it.
"""

_base_ = "mmseg::ocrnet/ocrnet_hr48_4xb2-80k_cityscapes-512x1024.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
inputs = dict(in_channels=[48, 96, 192, 384], in_index=(0, 1, 2, 3), input_transform="resize_concat")
# A list takes the place of its base's, so both stages stand here, as they are there but for the type of the last one.
model = dict(
    decode_head=[
        dict(
            **inputs,
            type="FCNHead",
            channels=sum([48, 96, 192, 384]),
            kernel_size=1,
            num_convs=1,
            norm_cfg=norm_cfg,
            concat_input=False,
            dropout_ratio=-1,
            num_classes=19,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4),
        ),
        dict(
            **inputs,
            type="RegularizedOCRHead",
            channels=512,
            ocr_channels=256,
            norm_cfg=norm_cfg,
            dropout_ratio=-1,
            num_classes=19,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        ),
    ]
)
train_dataloader = dict(batch_size=8)
