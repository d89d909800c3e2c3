"""CIFAR-100-LT: class-balanced re-weighting (Cui et al. 2019, beta 0.9999), same recipe as the other baselines.

    python benchmarks/run.py --suite cifar100_lt --only ce cb
    python longtail/stage1.py --method cb

The paper has no figure for this row. Data, net and schedule are those of ce.py on purpose: one recipe for all of these
baselines. A batch's loss is divided by its number of images. As in LDAM's comparison: cb_published.py.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="ClassBalancedCrossEntropy", class_counts=None)))
