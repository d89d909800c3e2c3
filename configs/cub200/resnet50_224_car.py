"""CUB-200-2011 on a smaller budget, ResNet-50 at 224 px with CAR.

    python benchmarks/run.py --suite cub200 --only resnet50_224 resnet50_224_car --data-root DIR

The paper has no figure for this row. The cost is about that of resnet50_224.py.
CAR by its defaults: absent classes take part in no term, no linear layer.
"""

_base_ = "./resnet50_224.py"

model = dict(head=dict(regularizer=dict(type="CAR")))
