"""What moves in a kept backbone: with shifted batch norm the running statistics, otherwise nothing at all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sar_cls.models import CIFARResNet, ScaledLinear, freeze, freeze_with_shifted_bn


def train_steps(backbone: nn.Module, classifier: nn.Module, device: torch.device, steps: int = 2) -> None:
    """Stage-2 steps as naive as they get: the optimizer is given every parameter and decays weights."""
    optimizer = torch.optim.SGD(
        [p for p in [*backbone.parameters(), *classifier.parameters()] if p.requires_grad], lr=0.1, weight_decay=0.1
    )
    for _ in range(steps):
        features = backbone(torch.randn(8, 3, 8, 8, device=device) + 1)
        loss = F.cross_entropy(classifier(features), torch.arange(8, device=device) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_shifted_bn_moves_the_running_statistics_and_nothing_else(device: torch.device) -> None:
    torch.manual_seed(0)
    backbone, classifier = CIFARResNet(8).to(device), ScaledLinear(64, 3).to(device)
    parameters = {name for name, _ in backbone.named_parameters()}
    statistics = {name for name, _ in backbone.named_buffers()}
    before, before_classifier = snapshot(backbone), snapshot(classifier)
    assert set(before) == parameters | statistics
    backbone.eval()  # the function, not luck, must set the mode
    freeze_with_shifted_bn(backbone)
    train_steps(backbone, classifier, device)
    assert changed(before, backbone) == statistics
    assert all(name.split(".")[-1] in {"running_mean", "running_var", "num_batches_tracked"} for name in statistics)
    assert changed(before_classifier, classifier) == {"weight", "bias", "scaling.scale"}


def test_running_statistics_follow_the_momentum_rule() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    freeze_with_shifted_bn(backbone)
    x = torch.randn(4, 2, 3, 3) * 2 + 5
    backbone(x)
    torch.testing.assert_close(backbone[0].running_mean, 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(backbone[0].running_var, 0.9 + 0.1 * x.var((0, 2, 3), unbiased=True))


def test_freeze_moves_nothing(device: torch.device) -> None:
    torch.manual_seed(0)
    backbone, classifier = CIFARResNet(8).to(device), nn.Linear(64, 3).to(device)
    backbone.train()
    before, before_classifier = snapshot(backbone), snapshot(classifier)
    freeze(backbone)
    train_steps(backbone, classifier, device)
    assert changed(before, backbone) == set()
    assert changed(before_classifier, classifier) == {"weight", "bias"}


@pytest.mark.parametrize("fix", [freeze, freeze_with_shifted_bn])
def test_no_graph_is_kept_for_the_backbone(fix: object) -> None:
    backbone = CIFARResNet(8)
    fix(backbone)  # type: ignore[operator]
    assert not backbone(torch.randn(2, 3, 8, 8)).requires_grad


@pytest.mark.parametrize("backbone", [nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)])
def test_refuses_a_backbone_without_running_statistics(backbone: nn.Module) -> None:
    with pytest.raises(ValueError, match="use freeze"):
        freeze_with_shifted_bn(backbone)
