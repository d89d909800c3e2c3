"""Every example runs as it stands."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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


def test_mmpretrain_config() -> None:
    losses = load("mmpretrain_config").main()
    assert {"loss_aux", "loss_anchor"} <= set(losses)
    assert all(value == value for value in losses.values())
