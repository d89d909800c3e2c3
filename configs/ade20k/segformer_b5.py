"""ADE20K, SegFormer on MiT-B5.

    python benchmarks/run.py --suite ade20k --only segformer_b5 --data-root DIR

mmseg's `segformer/segformer_mit-b5_8xb2-160k_ade20k-512x512`, its batch of 8 x 2 on one device: 16 in total. The paper's
figures (Tab. 2): 49.1, with SAR 49.5. The plain row is the very net: a head with regularizer=None is mmseg's own. Made for a
GPU; days of it.
"""

_base_ = "mmseg::segformer/segformer_mit-b5_8xb2-160k_ade20k-512x512.py"

model = dict(decode_head=dict(type="RegularizedSegformerHead"))
train_dataloader = dict(batch_size=16)
