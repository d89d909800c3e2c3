"""CamVid, UPerNet's head at stride 4 on EfficientNet-Lite0: a segmentation net that a CPU can train. Not the paper's net.

    python benchmarks/run.py --suite camvid --only "uper*" --data-root DIR --weights FILE

As segformer.py but for the head. The paper has no figure for this row.
"""

_base_ = "./segformer.py"

model = dict(decode_head=dict(type="RegularizedUPerHead", channels=64, pool_scales=(1, 2, 3, 6)))
