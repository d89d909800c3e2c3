"""Cityscapes, OCRNet on HRNetV2-W48.

    python benchmarks/run.py --suite cityscapes --only ocrnet_w48 --data-root DIR

mmseg's `ocrnet/ocrnet_hr48_4xb2-80k_cityscapes-512x1024`, its batch of 4 x 2 on one device: 8 in total. The paper's figures
(Tab. 1): 80.7, with SAR 81.7. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days
of it.
"""

_base_ = "mmseg::ocrnet/ocrnet_hr48_4xb2-80k_cityscapes-512x1024.py"

# A recipe's hash counts every name of a config, and runs of these rows know this one.
inputs = dict(in_channels=[48, 96, 192, 384], in_index=(0, 1, 2, 3), input_transform="resize_concat")
# A list takes the place of its base's, so both stages stand here: the base's own (mmengine's `_base_`), the last of another type.
model = dict(
    decode_head=[
        _base_.model.decode_head[0],
        dict(_base_.model.decode_head[1], type="RegularizedOCRHead"),
    ]
)
train_dataloader = dict(batch_size=8)
