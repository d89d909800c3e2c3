"""CIFAR-100-LT: the focal loss (Lin et al. 2017, gamma 2) of the softmax, same recipe as the other baselines.

    python benchmarks/run.py --suite cifar100_lt --only ce focal
    python longtail/stage1.py --method focal

The paper has no figure for this row. Data, net and schedule are those of ce.py on purpose: one recipe for all of these
baselines. Gamma is that of the loss's own paper. As in LDAM's comparison: focal_published.py.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="SoftmaxFocalLoss", class_counts=None)))
