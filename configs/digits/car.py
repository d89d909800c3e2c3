"""Digits with CAR at its default weights.

    python benchmarks/run.py --suite digits --only baseline car

The paper has no such table. The cost is that of the baseline.
CAR by its defaults: absent classes take part in no term, no linear layer (car_published.py: the published setting).
"""

_base_ = "./baseline.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
