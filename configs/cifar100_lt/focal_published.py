"""CIFAR-100-LT: the focal loss as in LDAM's comparison (Cao et al. 2019): gamma 1, no class weights.

    python benchmarks/run.py --suite cifar100_lt --only ce_published focal_published
    python longtail/stage1.py --method focal_published

The paper has no figure for this row. The schedule of ce_published.py.
"""

_base_ = "./ce_published.py"

model = dict(head=dict(loss=dict(_delete_=True, type="SoftmaxFocalLoss", class_counts=None, gamma=1.0)))
