"""ADE20K, HRNet on HRNetV2-W48.

    python benchmarks/run.py --suite ade20k --only hrnet_w48 --data-root DIR

mmseg's `hrnet/fcn_hr48_4xb4-160k_ade20k-512x512`, its batch of 4 x 4 on one device: 16 in total. The paper's figures (Tab. 2):
42.0, with SAR 42.8. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days of it.
"""

_base_ = "mmseg::hrnet/fcn_hr48_4xb4-160k_ade20k-512x512.py"

model = dict(decode_head=dict(type="RegularizedFCNHead"))
train_dataloader = dict(batch_size=16)
