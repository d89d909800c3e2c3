"""The CIFAR ResNet: parameters counted by formula, shortcuts against loops, layouts, compilation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sar_cls.models import CIFARResNet
from sar_cls.models.resnet_cifar import BasicBlock


def count_by_formula(depth: int, num_classes: int | None, in_channels: int = 3) -> int:
    n = (depth - 2) // 6
    pairs = [(in_channels, 16)] + [(16, 16)] * (2 * n)
    pairs += [(16, 32)] + [(32, 32)] * (2 * n - 1)
    pairs += [(32, 64)] + [(64, 64)] * (2 * n - 1)
    convolutions = sum(9 * a * b for a, b in pairs)
    norms = sum(2 * b for _, b in pairs)
    return convolutions + norms + (0 if num_classes is None else 65 * num_classes)


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56])
@pytest.mark.parametrize("num_classes", [None, 100])
def test_parameter_count(depth: int, num_classes: int | None) -> None:
    net = CIFARResNet(depth, num_classes)
    assert sum(p.numel() for p in net.parameters()) == count_by_formula(depth, num_classes)


def test_parameter_count_of_resnet32() -> None:
    assert sum(p.numel() for p in CIFARResNet(32, 100).parameters()) == 470_004
    assert sum(p.numel() for p in CIFARResNet(32, 10).parameters()) == 464_154  # the 0.46 M of He et al., Tab. 6


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56])
def test_depth_is_the_number_of_weighted_layers(depth: int) -> None:
    net = CIFARResNet(depth, 10)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == depth


@pytest.mark.parametrize(("size", "expected"), [(8, 2), (15, 4), (32, 8)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_shapes(device: torch.device, size: int, expected: int, in_channels: int) -> None:
    x = torch.randn(2, in_channels, size, size, device=device)
    net = CIFARResNet(8, 7, in_channels).to(device).eval()
    assert net.feature_map(x).shape == (2, 64, expected, expected)
    assert net.features(x).shape == (2, net.feat_dim) == (2, 64)
    assert net(x).shape == (2, 7)


def test_forward_without_classifier_gives_features(device: torch.device) -> None:
    net = CIFARResNet(8).to(device).eval()
    x = torch.randn(2, 3, 16, 16, device=device)
    assert torch.equal(net(x), net.features(x))
    assert torch.allclose(net(x), net.feature_map(x).flatten(2).mean(2), atol=1e-5)


@pytest.mark.parametrize(("inside", "outside", "stride"), [(16, 16, 1), (16, 32, 2), (32, 64, 2)])
@pytest.mark.parametrize("size", [6, 7])
def test_option_a_shortcut_against_a_loop(inside: int, outside: int, stride: int, size: int) -> None:
    block = BasicBlock(inside, outside, stride).eval()
    nn.init.zeros_(block.bn2.weight)  # silences the branch: relu(shortcut) is left
    x = torch.randn(2, inside, size, size)
    out = block(x).detach().numpy()
    small = (size + stride - 1) // stride
    expected = np.zeros((2, outside, small, small), dtype=np.float32)
    first = (outside - inside) // 2
    for n in range(2):
        for c in range(inside):
            for i in range(small):
                for j in range(small):
                    expected[n, first + c, i, j] = max(0.0, float(x[n, c, stride * i, stride * j]))
    assert np.array_equal(out, expected)


def test_eval_forward_against_plain_functions() -> None:
    torch.manual_seed(0)
    net = CIFARResNet(14, 5).double()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    net.eval()
    x = torch.randn(3, 3, 12, 12, dtype=torch.float64)
    s = net.state_dict()

    def norm(out: torch.Tensor, name: str) -> torch.Tensor:
        shape = (1, -1, 1, 1)
        mean, var = s[f"{name}.running_mean"].view(shape), s[f"{name}.running_var"].view(shape)
        return (out - mean) / (var + 1e-5).sqrt() * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)

    out = norm(F.conv2d(x, s["conv1.weight"], padding=1), "bn1").relu()
    for stage in range(3):
        for block in range(2):
            name = f"stages.{stage}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            branch = norm(F.conv2d(out, s[f"{name}.conv1.weight"], padding=1, stride=stride), f"{name}.bn1").relu()
            branch = norm(F.conv2d(branch, s[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            shortcut = F.max_pool2d(out, 1, stride)
            missing = branch.shape[1] - shortcut.shape[1]
            zeros = torch.zeros(3, missing // 2, *branch.shape[2:], dtype=x.dtype)
            out = (branch + torch.cat([zeros, shortcut, zeros], dim=1)).relu()
    expected = out.mean((2, 3)) @ s["classifier.weight"].T + s["classifier.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)


def test_kaiming_normal_init() -> None:
    torch.manual_seed(0)
    net = CIFARResNet(20, 100)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 2000:
            std = (2 / module.weight[0].numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.08)
            assert module.weight.abs().max() > 2.5 * std  # normal, not uniform
        elif isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


def test_init_depends_on_the_global_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(CIFARResNet(8, 3).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_channels_last_is_kept_and_changes_nothing(device: torch.device) -> None:
    torch.manual_seed(0)
    net = CIFARResNet(8, 4).to(device).double()
    x = torch.randn(4, 3, 16, 16, device=device, dtype=torch.float64)
    plain = net(x)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.to(memory_format=torch.channels_last)
    layouts = []
    for block in net.modules():
        if isinstance(block, BasicBlock):
            block.register_forward_hook(
                lambda _module, _args, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    torch.testing.assert_close(net(x), plain)
    layouts.clear()
    net.float()(x.float())  # cuDNN has no channels_last in float64
    assert layouts == [True] * 3


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    net = CIFARResNet(8, 4)
    F.cross_entropy(net(torch.randn(8, 3, 8, 8)), torch.arange(8) % 4).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in net.parameters())


def test_compiles_without_graph_breaks() -> None:
    torch._dynamo.reset()
    net = CIFARResNet(8, 4).eval()
    x = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.parametrize("depth", [2, 7, 18, 34, -4])
def test_refuses_other_depths(depth: int) -> None:
    with pytest.raises(ValueError, match="6n\\+2"):
        CIFARResNet(depth)


def test_refuses_counts_below_one() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        CIFARResNet(8, 0)
    with pytest.raises(ValueError, match="in_channels"):
        CIFARResNet(8, 2, 0)
    with pytest.raises(ValueError, match="Option A"):
        BasicBlock(16, 19, 2)
