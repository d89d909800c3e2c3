"""DisAlign (Zhang et al. 2021): the scores of a first stage, its net and classifier frozen, are calibrated class by class.

    python benchmarks/run.py --suite cifar100_lt --only ce disalign
    python longtail/stage2.py --stage1 RUN --method disalign

A magnitude and a margin a class and a confidence of one linear layer are all that is trained, by generalized re-weighting. No
figure in the paper, and none in theirs: Zhang et al. have no CIFAR. As in their program for ImageNet-LT: the form of the
calibration and its start, exponent 1.2 and a loss divided by the sum of the weights, 10 epochs of instance-balanced batches, cosine
from 0.1 epoch by epoch, and batch norms that stay in training mode, so that their statistics move. Batch and weight decay are those
of the other second stages here (128 and 2e-4; theirs are 256 and 5e-4).
"""

_base_ = "./ce.py"

model = dict(
    type="SecondStageClassifier",
    hold="shifted_bn",
    head=dict(
        classifier=dict(type="disalign", form="added"),
        loss=dict(_delete_=True, type="GeneralizedReweighting", class_counts=None, rho=1.2, divide_by="weights"),
    ),
)
train_cfg = dict(max_epochs=10)
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", T_max=10, by_epoch=True)
