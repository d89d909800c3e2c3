"""CIFAR-100-LT: balanced softmax (Ren et al. 2020), same recipe as the other baselines.

    python benchmarks/run.py --suite cifar100_lt --only ce balanced_softmax
    python longtail/stage1.py --method balanced_softmax

The paper has no figure for this row. Data, net and schedule are those of ce.py on purpose: one recipe for all of these
baselines.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="BalancedSoftmax", class_counts=None)))
