"""CUB-200-2011 on a smaller budget, EfficientNet-Lite0 with CAR in the published setting.

    python benchmarks/run.py --suite cub200 --only lite0_128 lite0_128_car lite0_128_car_published --data-root DIR

The paper has no figure for this row.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./lite0_128.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
