"""Make ``import torchvision`` work beside a torch that has no CUDA.

The wheels of torchvision on the public registry are linked to CUDA. Beside a CPU-only torch their compiled operators do
not load, which torchvision tolerates everywhere except where it registers shape functions for two of them (``nms`` and
``qnms``): there the import fails, and with it timm's and mmpretrain's. Declaring the two names first is enough; nothing in
this project calls them. Where the operators load, or where torchvision fails for any other reason, this module changes
nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# A torch.library.Library takes its definitions back when it is collected, so it is kept here.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Imports and returns torchvision. Call it before the first import of timm or mmpretrain."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    if not _declared:
        library = torch.library.Library("torchvision", "DEF")
        library.define(f"nms{_SCHEMA}")
        library.define(f"qnms{_SCHEMA}")
        _declared.append(library)
    return importlib.import_module("torchvision")
