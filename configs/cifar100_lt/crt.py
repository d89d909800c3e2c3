"""Classifier re-training (cRT, Kang et al. 2020, Sec. 4.1): a new classifier on the frozen backbone of a first stage.

    python benchmarks/run.py --suite cifar100_lt --only ce crt
    python longtail/stage2.py --stage1 RUN --method crt

Class-balanced sampling, cross-entropy, 10 epochs as long as MiSLAS's second stage, cosine from 0.1. No figure in the paper.
The same length and schedule for all second stages, on purpose, and the whole backbone stands still; as Kang et al. do it:
crt_published.py.
"""

_base_ = "./ce.py"

model = dict(type="SecondStageClassifier", hold="frozen")
continue_classifier = False
train_dataloader = dict(sampler=dict(type="ClassBalanced"), batches_per_epoch="one_pass_plus_one")
train_cfg = dict(max_epochs=10)
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", T_max=10, by_epoch=True)
