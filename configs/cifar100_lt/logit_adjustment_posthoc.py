"""Post-hoc logit adjustment (Menon et al. 2021, Sec. 4.1): tau times the log prior taken off the logits.

    python benchmarks/run.py --suite cifar100_lt --only ce logit_adjustment_posthoc
    python longtail/stage2.py --stage1 RUN --method logit_adjustment

Nothing is trained. tau is 1, or what a validation split chooses (``--val-fraction``). No figure in the paper.
"""

_base_ = "./ce.py"

posthoc = dict(type="logit_adjustment", tau=1.0)
train_cfg = dict(max_epochs=0)
