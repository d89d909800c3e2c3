"""Cityscapes, HRNet on HRNetV2-W48.

    python benchmarks/run.py --suite cityscapes --only hrnet_w48 --data-root DIR

mmseg's `hrnet/fcn_hr48_4xb2-80k_cityscapes-512x1024`, its batch of 4 x 2 on one device: 8 in total. The paper's figures (Tab.
1): 79.9, with SAR 81.4. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days of it.
"""

_base_ = "mmseg::hrnet/fcn_hr48_4xb2-80k_cityscapes-512x1024.py"

model = dict(decode_head=dict(type="RegularizedFCNHead"))
train_dataloader = dict(batch_size=8)
