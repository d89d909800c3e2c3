"""The second stage of MiSLAS on long-tailed digits: see ../cifar100_lt/mislas.py for what it does.

    python benchmarks/run.py --suite digits_lt
    python longtail/stage2.py --stage1 RUN --method mislas

The paper has no such table.
"""

_base_ = "../digits/baseline.py"

model = dict(
    type="SecondStageClassifier",
    hold="shifted_bn",
    head=dict(
        classifier=dict(type="scaled"),
        loss=dict(_delete_=True, type="LabelAwareSmoothing", class_counts=None, smooth_head=0.4, smooth_tail=0.1),
    ),
)
train_dataloader = dict(
    dataset=dict(longtail=dict(imbalance_factor=10, profile="exponential", seed=0)),
    sampler=dict(type="ClassAware", samples_per_class=4),
    batches_per_epoch="one_pass_plus_one",
)
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"head.fc.weight": dict(lr_mult=0.2), "head.fc.bias": dict(lr_mult=0.2)})
)
param_scheduler = dict(T_max=5)
