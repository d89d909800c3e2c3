"""CIFAR-100-LT: class-balanced re-weighting as in LDAM's comparison (Cui et al. 2019 by the program of Cao et al. 2019).

    python benchmarks/run.py --suite cifar100_lt --only ce_published cb_published
    python longtail/stage1.py --method cb_published

The paper has no figure for this row. The schedule of ce_published.py; beta 0.9999, weights that sum to the number of classes, from
the first epoch on; the loss of a batch is divided by the sum of its weights, as torch's weighted cross-entropy does it.
"""

_base_ = "./ce_published.py"

model = dict(
    head=dict(loss=dict(_delete_=True, type="ClassBalancedCrossEntropy", class_counts=None, divide_by="weights"))
)
