"""Tau-normalisation (Kang et al. 2020, Sec. 4.2): each class's weights divided by their norm to the power tau.

    python benchmarks/run.py --suite cifar100_lt --only ce tau_norm
    python longtail/stage2.py --stage1 RUN --method tau

Nothing is trained. tau is 1, or what a validation split chooses (``--val-fraction``). No figure in the paper.
"""

_base_ = "./ce.py"

posthoc = dict(type="tau_norm", tau=1.0)
train_cfg = dict(max_epochs=0)
