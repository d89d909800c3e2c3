"""CUB-200-2011, ResNet-50 with CAR in the published setting.

    python benchmarks/run.py --suite cub200 --only resnet50 resnet50_car resnet50_car_published --data-root DIR

The paper has no figure for this row.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./resnet50.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
