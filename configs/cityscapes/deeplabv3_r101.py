"""Cityscapes, DeepLabV3 on ResNet-101.

    python benchmarks/run.py --suite cityscapes --only deeplabv3_r101 --data-root DIR

mmseg's `deeplabv3/deeplabv3_r101-d8_4xb2-80k_cityscapes-512x1024`, its batch of 4 x 2 on one device: 8 in total. The paper's
figures (Tab. 1): 80.2, with SAR 80.6. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a
GPU; days of it.
"""

_base_ = "mmseg::deeplabv3/deeplabv3_r101-d8_4xb2-80k_cityscapes-512x1024.py"

model = dict(decode_head=dict(type="RegularizedASPPHead"))
train_dataloader = dict(batch_size=8)
