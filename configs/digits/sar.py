"""Digits with SAR at its default weights.

    python benchmarks/run.py --suite digits --only baseline sar

The paper has no such table. The cost is that of the baseline.
"""

_base_ = "./baseline.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
