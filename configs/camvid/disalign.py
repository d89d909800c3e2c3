"""CamVid, DisAlign (Zhang et al. 2021) as a second stage: a first stage stands still, the scores of its head are calibrated.

    python benchmarks/run.py --suite camvid --only "segformer*disalign" --data-root DIR --weights FILE
    python longtail/stage2.py --stage1 RUN --method disalign

A magnitude and a margin a class and a confidence of one channel, by generalized re-weighting with the published exponent for
pixels, 0.2. Published for ADE20K: 4,000 iterations after 160,000, at the first stage's rate of 0.01. After 1,500 iterations the
same share is 38, in which a margin would hardly move; these are 200 at 0.1, our choice. The net is whatever the first stage has.
The paper has no figure for this row; minutes on one core.
"""

_base_ = "./segformer.py"

model = dict(
    type="SecondStageSegmentor",
    decode_head=dict(
        classifier=dict(type="disalign", confidence="normalized"),
        loss_decode=dict(_delete_=True, type="GeneralizedReweighting", class_counts=None, rho=0.2),
    ),
)
train_cfg = dict(max_iters=200, val_interval=50)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=200, by_epoch=False)]
