"""The README's Python runs as printed, and its commands are the ones that the checks run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sar_cls.torchvision_shim import import_torchvision

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def command(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert found, f"the README has no command marked {name}"
    return found.group(1)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([3, 1, 99, 3])
    names: dict[str, Any] = {"loader": [(images, labels)] * 2}
    loop, attach, dense, config, _, own = BLOCKS  # the one for mmseg is that of examples/mmseg_config.py, run there

    exec(compile(loop, "README.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    assert bool(names["sar"].class_anchors.any())

    exec(compile(attach, "README.md", "exec"), names)
    assert names["logits"].shape == (4, 100)
    assert set(names["losses"]) == {"loss_aux", "loss_anchor"}

    names |= {"images": torch.randn(2, 3, 32, 32), "masks": torch.randint(19, (2, 32, 32))}
    names["masks"][:, :9] = 255
    exec(compile(dense, "README.md", "exec"), names)
    assert names["output"]["out"].shape == (2, 19, 32, 32)
    assert names["model"].regularizer.feat_dim == 512
    assert set(names["losses"]) == {"loss_aux", "loss_anchor"}

    monkeypatch.setitem(names["sar_cls"].REGULARIZERS, "FeatureNorm", None)  # taken out again after the test
    exec(compile(own, "README.md", "exec"), names)
    losses = names["sar_cls"].REGULARIZERS["FeatureNorm"](5, 8)(torch.ones(2, 8), torch.tensor([0, 4]))
    assert losses["loss_norm"].item() == pytest.approx(8e-3)

    path = tmp_path / "my_config.py"
    path.write_text(config, encoding="utf-8")
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import MODELS

    loaded = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        head = MODELS.build(loaded.model.head)
    assert type(head.regularizer).__name__ == "SAR"
    assert head.regularizer.feat_dim == 2048


def test_the_checks_run_the_readme_s_test_command() -> None:
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    install, test = command("test").split(" && ")[2:]
    assert install.removeprefix("pip install ") in checks
    assert test in checks


def test_the_tree_names_what_is_there() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, flags=re.DOTALL)
    assert tree
    for line in tree.group(1).splitlines():
        name = line.split()[0]
        base = ROOT / "sar_cls" if line.startswith("  ") else ROOT
        assert (base / name).exists(), name
