"""Every example runs as it stands."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sar_cls import given_anchors
from sar_cls.superclasses import CIFAR100_SUPERCLASSES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_are_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_plain_loop() -> None:
    assert load("plain_loop").main() > 95


def test_dense_loop() -> None:
    assert load("dense_loop").main() > 70


@pytest.mark.parametrize("arguments", [[], ["--model", "vit_tiny_patch16_224", "--size", "32", "--steps", "2"]])
def test_timm_attach(arguments: list[str]) -> None:
    history = load("timm_attach").main(arguments)
    assert history[-1] < history[0]


def test_accelerate_loop() -> None:
    pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")
    history = load("accelerate_loop").main()
    assert history[-1] < history[0]


def test_text_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the encoder that knows the superclasses and nothing else."""
    example = load("text_neighbors")
    homes = np.repeat(np.eye(20), 5, axis=0) + np.random.default_rng(0).normal(size=(100, 20)) / 50
    names = [name for names in CIFAR100_SUPERCLASSES.values() for name in names]
    for module in (example, given_anchors):
        monkeypatch.setattr(module, "embed_names", lambda asked: homes[[names.index(name) for name in asked]])
    monkeypatch.setattr(example, "SEEDS", 2)
    _, _, *rows, last = example.main().splitlines()
    assert len(rows) == 10
    assert rows[0].startswith("| apple | **")
    assert all(
        row.split(" | ")[1].count("**") == row.split(" | ")[2].count("**") == 6 for row in rows
    )  # three bold names
    number, anchors, control = (float(cell) for cell in last.strip("| ").split(" | ")[1:])
    assert (number, anchors) == (100, 100)  # 20 dimensions have room in 64
    assert control < 20  # 4 by chance


def test_mmseg_config() -> None:
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    losses = load("mmseg_config").main()
    assert {"decode.loss_ce", "decode.loss_aux", "decode.loss_anchor", "aux.loss_ce"} <= set(losses)


def test_mmpretrain_config() -> None:
    losses = load("mmpretrain_config").main()
    assert {"loss_aux", "loss_anchor"} <= set(losses)
    assert all(value == value for value in losses.values())
