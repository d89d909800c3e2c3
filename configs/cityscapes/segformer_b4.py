"""Cityscapes, SegFormer on MiT-B4.

    python benchmarks/run.py --suite cityscapes --only segformer_b4 --data-root DIR

mmseg's `segformer/segformer_mit-b4_8xb1-160k_cityscapes-1024x1024`, its batch of 8 x 1 on one device: 8 in total. The paper's
figures (Tab. 1): 81.9, with SAR 82.3. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a
GPU; days of it.
"""

_base_ = "mmseg::segformer/segformer_mit-b4_8xb1-160k_cityscapes-1024x1024.py"

model = dict(decode_head=dict(type="RegularizedSegformerHead"))
train_dataloader = dict(batch_size=8)
