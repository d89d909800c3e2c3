"""The library without the benchmark: torch and numpy are all that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import importlib.util
import torch
import sar_cls
from sar_cls.anchors import class_anchors
from sar_cls.losses import LabelAwareSmoothing

assert not [name for name in ("timm", "pandas", "mmengine", "scipy") if importlib.util.find_spec(name)]
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


def with_what_they_need(names: list[str]) -> set[str]:
    """Packages and all that they require, extras and other systems aside."""
    found: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # a requirement of another system
            continue
        found.add(name)
        names += [re.split(r"[^\w.-]", entry)[0] for entry in required if "extra ==" not in entry]
    return found


def test_the_library_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    """In a process that sees the standard library, torch, numpy and what those two need, and nothing else."""
    for name in with_what_they_need(["torch", "numpy"]):
        for file in metadata.files(name) or []:
            top = file.parts[0]
            place = Path(str(metadata.distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and place.exists() and not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(place)
    (tmp_path / "sar_cls").symlink_to(ROOT / "sar_cls")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['loss_anchor', 'loss_aux']"


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_no_more_is_required(name: str) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert required is not None
    names = re.findall(r'"([a-z-]+)', required.group(1))
    assert name in names
    assert len(names) == 2
