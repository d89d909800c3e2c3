"""CIFAR-100-LT: LDAM with deferred re-weighting (Cao et al. 2019), same recipe as the other baselines.

    python benchmarks/run.py --suite cifar100_lt --only ce ldam_drw
    python longtail/stage1.py --method ldam_drw

The paper has no figure for this row. Data, net and schedule are those of ce.py on purpose: one recipe for all of these
baselines. Its own schedule: ldam_drw_published.py.
"""

_base_ = "./ce.py"

model = dict(
    head=dict(
        classifier=dict(type="cosine", scale=30.0),
        loss=dict(_delete_=True, type="LDAM", class_counts=None, scaled_logits=True),
    )
)
