"""Long-tailed digits, imbalance 10, mixup with SAR.

    python benchmarks/run.py --suite digits_lt --only mixup mixup_sar
    python longtail/stage1.py --dataset digits --method sar

The paper has no such table.
"""

_base_ = "./mixup.py"

model = dict(head=dict(regularizer=dict(type="SAR")))
