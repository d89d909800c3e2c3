"""The second stage of MiSLAS: shifted batch norm, learnable weight scaling, label-aware smoothing.

    python benchmarks/run.py --suite cifar100_lt --only mixup mixup_mislas
    python longtail/stage2.py --stage1 RUN --method mislas

Paper (Tab. 10): 47.0 top-1 after mixup, 45.3 after mixup with CAR, 48.0 after mixup with SAR (best test epoch; published ECE of
the first: 4.83). 10 epochs, less than a twentieth of the first stage.

The settings below are those of imbalance 100; after a first stage of another data set or factor the published ones of that are
taken (sar_cls/engine/mislas.py), and where there are none the run is marked as ours.

The backbone gets no gradient but stays in training mode. The classifier goes on from the first stage at a fifth of the scaling
vector's learning rate. An epoch is ceil(n / batch) + 1 batches (86 at imbalance 100), where the published code leaves its loop;
the class-aware sampler could give 391 (``--full-epochs``). No mixup.
"""

_base_ = "./ce.py"

settings_by_data = "mislas"
model = dict(
    type="SecondStageClassifier",
    hold="shifted_bn",
    head=dict(
        classifier=dict(type="scaled"),
        loss=dict(
            _delete_=True,
            type="LabelAwareSmoothing",
            class_counts=None,
            smooth_head=0.4,
            smooth_tail=0.1,
            shape="concave",
        ),
    ),
)
train_dataloader = dict(sampler=dict(type="ClassAware", samples_per_class=4), batches_per_epoch="one_pass_plus_one")
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"head.fc.weight": dict(lr_mult=0.2), "head.fc.bias": dict(lr_mult=0.2)})
)
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", T_max=10, by_epoch=True)
