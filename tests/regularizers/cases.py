"""Every regularizer with its options, a batch for it, one step, and its state: what the tests of the contract share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sar_cls import REGULARIZERS, SAR, Regularizer

from .sar_cases import nearest_anchor_classifier

NUM_CLASSES, FEAT_DIM, NUM_SAMPLES = 5, 6, 8
IGNORE = 255  # the label of pixels without a class, as every method has it by default

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "SAR open": ("SAR", {"delta": 0.01, "momentum": 0.9}),
    "SAR closed": ("SAR", {"delta": 1.0}),
    "SAR per class": ("SAR", {"gate": "per_class", "delta": 0.4, "grad_through_weights": False}),
    "SAR warming up": ("SAR", {"delta": 0.01, "aux_warmup": 2}),
    "CAR": ("CAR", {}),
    "CAR absent as zero": ("CAR", {"absent_as_zero": True}),
    "CAR running, linear": ("CAR", {"running_centers": True, "linear_layer": True}),
    "FixedAnchors": ("FixedAnchors", {"kind": "simplex"}),
    "CenterLoss": ("CenterLoss", {}),
    "INC": ("INC", {}),
    "SupCon": ("SupCon", {}),
    "SupCon, no projection": ("SupCon", {"projection": None}),
}
all_cases = pytest.mark.parametrize("case", CASES)


def build(case: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> tuple[Regularizer, nn.Linear]:
    torch.manual_seed(0)
    name, arguments = CASES[case]
    module = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM, **arguments).to(device, dtype)
    if isinstance(module, SAR):
        return module, nearest_anchor_classifier(module, 0.2)
    return module, nn.Linear(FEAT_DIM, NUM_CLASSES).to(device, dtype)


def draw_batch(device: torch.device | str, seed: int = 0, soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(NUM_SAMPLES, FEAT_DIM, generator=generator)
    targets = torch.randint(NUM_CLASSES - 1, (NUM_SAMPLES,), generator=generator)  # the last class is absent
    if soft:
        one_hot = torch.eye(NUM_CLASSES)[targets]
        targets = 0.4 * one_hot + 0.6 * one_hot.flip(0)
    return features.to(device), targets.to(device)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and all buffers, the unsaved ones too."""
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def step(
    module: Regularizer, classifier: nn.Module, features: Tensor, targets: Tensor, autocast: bool = False
) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    """Losses, and gradients of their sum for the features, the classifier and the module's parameters."""
    features = features.detach().requires_grad_()
    with torch.autocast(features.device.type, dtype=torch.bfloat16, enabled=autocast):
        losses = module(features, targets, classifier)
    inputs = [features, *classifier.parameters(), *module.parameters()]
    total = torch.stack(list(losses.values())).sum()
    return losses, list(torch.autograd.grad(total, inputs, allow_unused=True))
