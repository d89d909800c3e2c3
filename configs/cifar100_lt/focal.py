"""CIFAR-100-LT: the focal loss (Lin et al. 2017, gamma 2) of the softmax, data, net and schedule of ce.py.

    python benchmarks/run.py --suite cifar100_lt --only ce focal
    python longtail/stage1.py --method focal

The paper has no figure for this row.
"""

_base_ = "./ce.py"

model = dict(head=dict(loss=dict(_delete_=True, type="SoftmaxFocalLoss", class_counts=None)))
