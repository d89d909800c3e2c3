"""CUB-200-2011 on a smaller budget, EfficientNet-Lite0 at 128 px with CAR.

    python benchmarks/run.py --suite cub200 --only lite0_128 lite0_128_car --data-root DIR

The paper has no figure for this row. The cost is about that of lite0_128.py.
CAR by its defaults: absent classes take part in no term, no linear layer (lite0_128_car_published.py: the published setting).
"""

_base_ = "./lite0_128.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
