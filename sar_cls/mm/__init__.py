"""The only part that imports mmengine and mmpretrain: head, preprocessor, loops, hooks, and the engine that runs a config.

Importing it registers everything by name, so that an mmpretrain config needs no more than
``custom_imports = dict(imports=["sar_cls.mm"])``.
"""

import warnings

from sar_cls.torchvision_shim import import_torchvision

import_torchvision()

with warnings.catch_warnings():
    # mmcv-lite has no compiled operators and says so on import; none is used here.
    warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
    from mmengine.config.utils import MODULE2PACKAGE
    from mmpretrain.utils import dependency

    # mmengine looks for "mmseg::..." under the name of the original package; the maintained one has another.
    MODULE2PACKAGE["mmseg"] = "mmseg"

    # With both transformers and pycocotools installed mmpretrain's multimodal models fail to import; none is used here.
    dependency.WITH_MULTIMODAL = False
    import mmpretrain.models  # noqa: F401

from sar_cls.mm import (  # noqa: E402
    backbones,
    checkpoint,
    history,
    loops,
    losses,
    optim,
    preprocessor,
    progress,
    runner,
    second_stage,
)
from sar_cls.mm.head import RegularizedLinearClsHead  # noqa: E402

__all__ = [
    "RegularizedLinearClsHead",
    "backbones",
    "checkpoint",
    "history",
    "loops",
    "losses",
    "optim",
    "preprocessor",
    "progress",
    "runner",
    "second_stage",
]
