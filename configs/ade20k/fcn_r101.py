"""ADE20K, FCN on ResNet-101.

    python benchmarks/run.py --suite ade20k --only fcn_r101 --data-root DIR

mmseg's `fcn/fcn_r101-d8_4xb4-160k_ade20k-512x512`, its batch of 4 x 4 on one device: 16 in total. The paper's figures (Tab. 2):
39.9, with SAR 40.4. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a GPU; days of it.
"""

_base_ = "mmseg::fcn/fcn_r101-d8_4xb4-160k_ade20k-512x512.py"

model = dict(decode_head=dict(type="RegularizedFCNHead"))
train_dataloader = dict(batch_size=16)
