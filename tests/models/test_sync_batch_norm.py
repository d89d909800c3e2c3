"""Batch norm over the whole batch, in one process; several are tested in tests/mm/test_processes.py."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sar_cls.errors import InputError
from sar_cls.models import sync_batch_norm
from sar_cls.models.library_backbones import build_backbone
from sar_cls.models.sync_batch_norm import SynchronizedBatchNorm, synchronize_batch_norms

CPU = torch.device("cpu")


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5), nn.BatchNorm1d(5)
    ).double()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_forward_backward_and_statistics_are_those_of_torch(
    momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forward pass of several processes, of which the others have no samples."""
    torch.manual_seed(0)
    plain = net()
    plain[1].momentum = plain[4].momentum = momentum
    other = copy.deepcopy(plain)
    assert synchronize_batch_norms(other, CPU) == 2
    monkeypatch.setattr(sync_batch_norm, "num_processes", lambda: 2)
    for _ in range(3):
        images = torch.randn(6, 3, 8, 8, dtype=torch.float64) * 3 + 20
        expected, found = plain(images), other(images)
        torch.testing.assert_close(found, expected)
        expected.square().sum().backward()
        found.square().sum().backward()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad)
    torch.testing.assert_close(other.eval()(images), plain.eval()(images))


def test_under_autocast_half_precision_is_normalised_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = net()[:2].float()
    other = copy.deepcopy(plain)
    synchronize_batch_norms(other, CPU)
    monkeypatch.setattr(sync_batch_norm, "num_processes", lambda: 2)
    images = torch.randn(6, 3, 8, 8) * 3 + 20
    for one in (plain, other):
        with torch.autocast("cpu", torch.bfloat16):
            output = one(images)
        assert output.dtype == torch.bfloat16
        output.float().square().sum().backward()
    for name, value in plain.state_dict().items():
        assert other.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-5, atol=1e-5)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=0.05, atol=0.5)


def test_the_tensors_stay_the_same_ones() -> None:
    plain = net()
    weight, names = plain[1].weight, list(plain.state_dict())
    synchronize_batch_norms(plain, CPU)
    assert isinstance(plain[1], SynchronizedBatchNorm)
    assert plain[1].weight is weight
    assert list(plain.state_dict()) == names


def test_a_gpu_has_torchs_own() -> None:
    plain = net()
    synchronize_batch_norms(plain, torch.device("cuda"))
    assert type(plain[1]) is nn.SyncBatchNorm


def test_timms_batch_norm_keeps_its_activation() -> None:
    build_backbone("timm:resnet18", num_classes=0)  # imports timm, and torchvision as it can be had
    layers = pytest.importorskip("timm.layers")
    plain = nn.Sequential(layers.BatchNormAct2d(3))
    other = copy.deepcopy(plain)
    synchronize_batch_norms(other, CPU)
    images = torch.randn(4, 3, 5, 5)
    assert torch.equal(other.eval()(images), plain.eval()(images))
    assert float(other(images).detach().min()) == 0


def test_one_of_another_kind_is_named() -> None:
    class Strange(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match=r"0 is a Strange, which cannot be synchronised: leave --sync-bn out"):
        synchronize_batch_norms(nn.Sequential(Strange(3)), CPU)


def test_a_net_without_any_is_left_alone() -> None:
    assert synchronize_batch_norms(nn.Sequential(nn.Linear(3, 3)), CPU) == 0


def test_what_is_apart_and_what_nobody_asked_for_stays() -> None:
    """A regularizer's own see no images; and of a net that asks for SyncBN alone, the others are not touched."""
    asked = nn.Sequential(nn.SyncBatchNorm(4), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4), nn.SyncBatchNorm(4)))
    parts = list(asked.modules())
    synchronize_batch_norms(asked, CPU, apart=[asked[2]], only_asked=True)
    assert [type(module).__name__ for module in asked.modules()][1:] == [
        "SynchronizedBatchNorm",
        "BatchNorm2d",
        "Sequential",
        "BatchNorm2d",
        "SyncBatchNorm",
    ]
    assert asked[1] is parts[2]
