"""CIFAR-100-LT: class-balanced re-weighting (Cui et al. 2019, beta 0.9999), data, net and schedule of ce.py.

    python benchmarks/run.py --suite cifar100_lt --only ce cb
    python longtail/stage1.py --method cb

The paper has no figure for this row.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="ClassBalancedCrossEntropy", class_counts=None)))
