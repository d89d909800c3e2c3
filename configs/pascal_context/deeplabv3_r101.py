"""Pascal-Context, DeepLabV3 on ResNet-101.

    python benchmarks/run.py --suite pascal_context --only deeplabv3_r101 --data-root DIR

mmseg's `deeplabv3/deeplabv3_r101-d8_4xb4-40k_pascal-context-59-480x480`, its batch of 4 x 4 on one device: 16 in total. The
paper's figures (Tab. 4): 52.6, with SAR 53.3. The plain row is the very net: a head with regularizer=None is mmseg's own. Made
for a GPU; days of it.
"""

_base_ = "mmseg::deeplabv3/deeplabv3_r101-d8_4xb4-40k_pascal-context-59-480x480.py"

model = dict(decode_head=dict(type="RegularizedASPPHead"))
train_dataloader = dict(batch_size=16)
