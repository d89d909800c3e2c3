"""Learnable weight scaling (LWS) with the settings of Kang et al. 2020: one factor per class, all else as in crt_published.py.

    python benchmarks/run.py --suite cifar100_lt --only ce lws_published
    python longtail/stage2.py --stage1 RUN --method lws_published

No figure in the paper, and none in theirs. Only the factors are trained; what is not certain about the recipe stands in
crt_published.py, and that LWS has the learning rate of cRT is not certain either.
"""

_base_ = "./crt_published.py"

model = dict(head=dict(classifier=dict(type="scaled", train_linear=False)))
continue_classifier = True
