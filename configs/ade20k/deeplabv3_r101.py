"""ADE20K, DeepLabV3 on ResNet-101.

    python benchmarks/run.py --suite ade20k --only deeplabv3_r101 --data-root DIR

mmseg's `deeplabv3/deeplabv3_r101-d8_4xb4-160k_ade20k-512x512`, its batch of 4 x 4 on one device: 16 in total. The paper's
figures (Tab. 2): 45.0, with SAR 45.3. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a
GPU; days of it.
"""

_base_ = "mmseg::deeplabv3/deeplabv3_r101-d8_4xb4-160k_ade20k-512x512.py"

model = dict(decode_head=dict(type="RegularizedASPPHead"))
train_dataloader = dict(batch_size=16)
