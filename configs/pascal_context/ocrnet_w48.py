"""Pascal-Context, OCRNet on HRNetV2-W48, for which mmseg ships no config: its HRNet with OCRNet's two heads.

    python benchmarks/run.py --suite pascal_context --only ocrnet_w48 --data-root DIR

mmseg's `hrnet/fcn_hr48_4xb4-40k_pascal-context-59-480x480`, its batch of 4 x 4 on one device: 16 in total. The paper's figures
(Tab. 4): 52.0, with SAR 52.4. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days
of it.
"""

_base_ = "mmseg::hrnet/fcn_hr48_4xb4-40k_pascal-context-59-480x480.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
inputs = dict(in_channels=[48, 96, 192, 384], in_index=(0, 1, 2, 3), input_transform="resize_concat")
# A list takes the place of its base's, so both stages stand here, as mmseg has them for ADE20K, with the 59 classes of this set.
model = dict(
    type="CascadeEncoderDecoder",
    num_stages=2,
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
            num_classes=59,
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
            num_classes=59,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        ),
    ],
)
train_dataloader = dict(batch_size=16)
