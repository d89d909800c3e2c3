"""Digits with CAR in the published setting.

    python benchmarks/run.py --suite digits --only baseline car car_published

The paper has no such table.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./baseline.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
