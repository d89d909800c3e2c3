"""DisAlign on long-tailed digits: see ../cifar100_lt/disalign.py for what it does.

    python benchmarks/run.py --suite digits_lt --only mixup mixup_disalign
    python longtail/stage2.py --stage1 RUN --method disalign

The paper has no such table.
"""

_base_ = "../digits/baseline.py"

model = dict(
    type="SecondStageClassifier",
    hold="shifted_bn",
    head=dict(
        classifier=dict(type="disalign", form="added"),
        loss=dict(_delete_=True, type="GeneralizedReweighting", class_counts=None, rho=1.2, divide_by="weights"),
    ),
)
train_dataloader = dict(dataset=dict(longtail=dict(imbalance_factor=10, profile="exponential", seed=0)))
train_cfg = dict(max_epochs=5)
param_scheduler = dict(T_max=5)
