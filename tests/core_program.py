"""What the library does with torch and numpy alone; run where nothing else is installed (test_core.py, .ci/package)."""

from __future__ import annotations

import importlib.util

import torch

import sar_cls
from sar_cls.anchors import class_anchors
from sar_cls.losses import LabelAwareSmoothing

assert not [name for name in ("torchvision", "timm", "pandas", "mmengine", "scipy") if importlib.util.find_spec(name)]
features, labels = torch.randn(8, 16, requires_grad=True), torch.arange(8) % 4
classifier = torch.nn.Linear(16, 4)
for method in sar_cls.REGULARIZERS.values():
    loss = sum(method(num_classes=4, feat_dim=16)(features, labels, classifier).values())
    loss.backward()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
logits, losses = sar_cls.attach(model, sar_cls.SAR).train()(torch.randn(8, 3, 2, 2), labels)
LabelAwareSmoothing([5, 4, 3, 2])(logits, labels).backward()
class_anchors("simplex", 4, 16)
print(sorted(losses))
