"""Learnable weight scaling (LWS, Kang et al. 2020, Sec. 4.3): one factor per class on a frozen first stage.

    python benchmarks/run.py --suite cifar100_lt --only ce lws
    python longtail/stage2.py --stage1 RUN --method lws

Class-balanced sampling, cross-entropy, 10 epochs as long as MiSLAS's second stage, cosine from 0.1. No figure in the paper.
The same length and schedule for all second stages, on purpose, and the whole backbone stands still; as Kang et al. do it:
lws_published.py.
"""

_base_ = "./crt.py"

model = dict(head=dict(classifier=dict(type="scaled", train_linear=False)))
continue_classifier = True
