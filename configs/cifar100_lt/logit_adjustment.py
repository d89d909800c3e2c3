"""CIFAR-100-LT: logit adjustment while training (Menon et al. 2021, tau 1), same recipe as the other baselines.

    python benchmarks/run.py --suite cifar100_lt --only ce logit_adjustment
    python longtail/stage1.py --method logit_adjustment

The paper has no figure for this row. Data, net and schedule are those of ce.py on purpose: one recipe for all of these
baselines.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="LogitAdjustment", class_counts=None)))
