"""ADE20K, UPerNet on Swin-L.

    python benchmarks/run.py --suite ade20k --only upernet_swin_l --data-root DIR

mmseg's `swin/swin-large-patch4-window12-in22k-384x384-pre_upernet_8xb2-160k_ade20k-512x512`, its batch of 8 x 2 on one device:
16 in total. The paper's figures (Tab. 2): 52.2, with SAR 52.6. The plain row is the very net: a head with regularizer=None is
mmseg's own. Made for a GPU; days of it.
"""

_base_ = "mmseg::swin/swin-large-patch4-window12-in22k-384x384-pre_upernet_8xb2-160k_ade20k-512x512.py"

model = dict(decode_head=dict(type="RegularizedUPerHead"))
train_dataloader = dict(batch_size=16)
