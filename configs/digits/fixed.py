"""Digits with FixedAnchors at its default weights.

    python benchmarks/run.py --suite digits --only baseline fixed

The paper has no such table. The cost is that of the baseline.
"""

_base_ = "./baseline.py"

model = dict(head=dict(regularizer=dict(type="FixedAnchors")))
