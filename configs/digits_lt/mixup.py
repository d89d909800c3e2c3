"""Long-tailed digits, imbalance 10, mixup: a first stage that takes seconds.

    python benchmarks/run.py --suite digits_lt --only mixup
    python longtail/stage1.py --dataset digits --method mixup

The paper has no such table.
"""

_base_ = "../digits/baseline.py"

model = dict(head=dict(loss=dict(type="CrossEntropyLoss", use_soft=True)))
data_preprocessor = dict(mixup_alpha=1.0, num_classes=10)
train_dataloader = dict(dataset=dict(longtail=dict(imbalance_factor=10, profile="exponential", seed=0)))
