"""CIFAR-100-LT: LDAM with deferred re-weighting by its own published recipe (Cao et al. 2019).

    python benchmarks/run.py --suite cifar100_lt --only ce_published ldam_drw_published
    python longtail/stage1.py --method ldam_drw_published

The paper has no figure for this row. The schedule of ce_published.py; margin 0.5, scale 30, re-weighting from epoch 160 on with
beta 0.9999, cosine classifier, as in ldam_drw.py.
"""

_base_ = "./ce_published.py"

model = dict(
    head=dict(
        classifier=dict(type="cosine", scale=30.0),
        loss=dict(_delete_=True, type="LDAM", class_counts=None, scaled_logits=True),
    )
)
