"""CIFAR-100-LT: logit adjustment while training (Menon et al. 2021, tau 1), data, net and schedule of ce.py.

    python benchmarks/run.py --suite cifar100_lt --only ce logit_adjustment
    python longtail/stage1.py --method logit_adjustment

The paper has no figure for this row.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="LogitAdjustment", class_counts=None)))
