"""ADE20K, DisAlign (Zhang et al. 2021) as a second stage after HRNet: the paper's Tab. 3.

    python benchmarks/run.py --suite ade20k --only "hrnet_w48*disalign" --data-root DIR

Of its published settings for ADE20K: 4,000 iterations on the first stage's data and schedule, exponent 0.2, everything frozen but
a magnitude and a margin a class and a confidence of one channel (1x1 convolution, batch norm, ReLU, sigmoid). Frequencies are of
the training masks, where the published program takes them from a list that comes with the data. The paper's figures (Tab. 3,
mIoU, head, body, tail): 42.2, 65.6, 46.0, 33.1 after HRNet; 42.9, 66.1, 46.0, 34.5 after HRNet with SAR. Made for a GPU.
"""

_base_ = "./hrnet_w48.py"

model = dict(
    type="SecondStageSegmentor",
    decode_head=dict(
        classifier=dict(type="disalign", confidence="normalized"),
        loss_decode=dict(_delete_=True, type="GeneralizedReweighting", class_counts=None, rho=0.2),
    ),
)
train_cfg = dict(max_iters=4000, val_interval=800)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=4000, by_epoch=False)]
