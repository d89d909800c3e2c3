"""DisAlign (Zhang et al. 2021): the scores of a first stage, its net and classifier frozen, are calibrated class by class.

    python benchmarks/run.py --suite cifar100_lt --only ce disalign
    python longtail/stage2.py --stage1 RUN --method disalign

A magnitude and a margin a class and a confidence of one linear layer are all that is trained, by generalized re-weighting. No
figure in the paper, and none in theirs: Zhang et al. have no CIFAR. Of their published ImageNet-LT settings: exponent 1.2,
10 epochs, instance-balanced batches, cosine from 0.1; batch and weight decay are those of the other second stages here.
"""

_base_ = "./ce.py"

model = dict(
    type="SecondStageClassifier",
    hold="frozen",
    head=dict(
        classifier=dict(type="disalign"),
        loss=dict(_delete_=True, type="GeneralizedReweighting", class_counts=None, rho=1.2),
    ),
)
train_cfg = dict(max_epochs=10)
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", T_max=10, by_epoch=True)
