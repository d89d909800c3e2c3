"""SAR in a stock mmpretrain config: one head and one entry are all that changes.

    python examples/mmpretrain_config.py       # two steps on random images, to show that it trains

As a file of its own it is an mmpretrain config like any other (``mim train mmpretrain my_config.py``):

    _base_ = "mmpretrain::resnet/resnet50_8xb16_cifar100.py"
    custom_imports = dict(imports=["sar_cls.mm"])
    model = dict(head=dict(type="RegularizedLinearClsHead", regularizer=dict(type="SAR", anchor_weight=0.1)))
"""

from __future__ import annotations

import textwrap

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import sar_cls.mm  # noqa: F401 (registers the head)


def main() -> dict[str, float]:
    assert __doc__ is not None
    config = Config.fromstring(textwrap.dedent(__doc__.split("any other", 1)[1].split("\n", 1)[1]), ".py")
    config.model.backbone.depth, config.model.head.in_channels = 18, 512  # a smaller net, for the show
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
        optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(label) for label in range(8)]
    for _ in range(2):
        losses = model.train_step({"inputs": list(images), "data_samples": samples}, optim_wrapper)
        print(", ".join(f"{name} {value.item():.3f}" for name, value in losses.items()))
    return {name: value.item() for name, value in losses.items()}


if __name__ == "__main__":
    main()
