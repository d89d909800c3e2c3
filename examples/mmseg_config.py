"""SAR in a stock mmseg config: the type of the decode head and one entry are all that changes.

    python examples/mmseg_config.py            # two steps on random images, to show that it trains

As a file of its own it is an mmseg config like any other (``import sar_cls.mm.seg`` before it is read, or copy the base where
mmseg's configs lie):

    _base_ = "mmseg::fcn/fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py"
    custom_imports = dict(imports=["sar_cls.mm.seg"])
    model = dict(decode_head=dict(type="RegularizedFCNHead", regularizer=dict(type="SAR", embedding="linear+conv")))
"""

from __future__ import annotations

import textwrap

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

import sar_cls.mm.seg  # noqa: F401 (registers the heads)

# mmseg's own can only be imported after it.
from mmseg.registry import MODELS  # isort: skip
from mmseg.structures import SegDataSample  # isort: skip

SIZE = (64, 128)


def main() -> dict[str, float]:
    assert __doc__ is not None
    text = __doc__[__doc__.index("    _base_") :]
    config = Config.fromstring(textwrap.dedent(text), ".py")
    net = config.model  # a smaller one, for the show, with random weights and on smaller images
    net.pretrained = None
    net.backbone.update(depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type="BN"))
    net.decode_head.update(in_channels=64, channels=16, norm_cfg=dict(type="BN"))
    net.auxiliary_head.update(in_channels=32, channels=8, norm_cfg=dict(type="BN"))
    net.data_preprocessor.size = SIZE
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(net)
        optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    images = torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8)
    samples = []
    for _ in images:
        sample = SegDataSample(metainfo={"img_shape": SIZE, "ori_shape": SIZE})
        sample.gt_sem_seg = PixelData(data=torch.randint(19, (1, *SIZE)))
        samples.append(sample)
    for _ in range(2):
        losses = model.train_step({"inputs": list(images), "data_samples": samples}, optim_wrapper)
        print(", ".join(f"{name} {value.item():.3f}" for name, value in losses.items()))
    return {name: value.item() for name, value in losses.items()}


if __name__ == "__main__":
    main()
