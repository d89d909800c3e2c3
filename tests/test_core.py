"""The library without the benchmark: torch and numpy are all that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Refuses every package that only the extras bring, however it happens to be installed here.
REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""
PROGRAM = """
import torch
import sar_cls
from sar_cls.anchors import class_anchors
from sar_cls.losses import LabelAwareSmoothing

features, labels = torch.randn(8, 16, requires_grad=True), torch.arange(8) % 4
classifier = torch.nn.Linear(16, 4)
for name, method in sar_cls.REGULARIZERS.items():
    loss = sum(method(num_classes=4, feat_dim=16)(features, labels, classifier).values())
    loss.backward()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
logits, losses = sar_cls.attach(model, sar_cls.SAR).train()(torch.randn(8, 3, 2, 2), labels)
LabelAwareSmoothing([5, 4, 3, 2])(logits, labels).backward()
class_anchors("simplex", 4, 16)
print(sorted(losses))
"""


def import_names() -> set[str]:
    """The modules of the packages that pyproject.toml names in its extras."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = text[text.index("[project.optional-dependencies]") : text.index("[project.scripts]")]
    names = {re.split(r"[<>=;\[ ]", entry)[0] for entry in re.findall(r'"([^"]+)"', extras)}
    other = {"scikit-learn": "sklearn", "mmcv-lite": "mmcv", "umap-learn": "umap", "sar-cls": ""}
    return {other.get(name, name.replace("-", "_").removeprefix("onedl_")) for name in names} - {""}


def test_the_library_needs_torch_and_numpy_alone() -> None:
    refused = import_names()
    assert {"timm", "torchvision", "mmengine", "mmpretrain", "mmcv", "pandas", "scipy", "sklearn"} <= refused
    code = textwrap.dedent(REFUSE).format(refused=refused) + PROGRAM
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['loss_anchor', 'loss_aux']"
