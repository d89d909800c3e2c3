"""CUB-200-2011, ResNet-18 with CAR in the published setting.

    python benchmarks/run.py --suite cub200 --only resnet18 resnet18_car resnet18_car_published --data-root DIR

The paper has no figure for this row.
CAR.published() from a config: absent classes as zero vectors, a linear layer in front. In the published program that layer is
inside the network, before the classifier; here it stands beside it, and the classifier sees the plain features.
"""

_base_ = "./resnet18.py"

model = dict(head=dict(regularizer=dict(type="CAR", absent_as_zero=True, linear_layer=True)))
