"""Batch norm over virtual batches: against a slow loop, and against real batch norm on the parts."""

from __future__ import annotations

import copy
import doctest
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sar_cls.models.virtual_batch_norm
from sar_cls.errors import InputError
from sar_cls.models import CIFARResNet, VirtualBatchNorm2d, freeze_with_shifted_bn, use_virtual_batches
from sar_cls.models.library_backbones import build_backbone
from sar_cls.models.virtual_batch_norm import virtual_batches

C = 3


def reference(
    images: np.ndarray, parts: list[list[int]], weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output, and the statistics of one step: the mean over the parts of mean and of unbiased variance."""
    out = np.zeros_like(images)
    means, variances = np.zeros(C), np.zeros(C)
    for part in parts:
        for c in range(C):
            values = [images[n, c, h, w] for n in part for h in range(images.shape[2]) for w in range(images.shape[3])]
            mean = sum(values) / len(values)
            squares = sum((value - mean) ** 2 for value in values)
            for n in part:
                out[n, c] = (images[n, c] - mean) / np.sqrt(squares / len(values) + eps) * weight[c] + bias[c]
            means[c] += mean / len(parts)
            variances[c] += squares / (len(values) - 1) / len(parts)
    return out, means, variances


def layer(virtual_batch: int = 4, **kwargs: Any) -> VirtualBatchNorm2d:
    norm = VirtualBatchNorm2d(C, virtual_batch, **kwargs)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -3.0]))
    return norm


def draw(batch: int, seed: int = 0) -> Tensor:
    """Images whose statistics differ from one to the next."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, C, 3, 2, generator=generator)
    return images * torch.rand(batch, C, 1, 1, generator=generator) + 3 * torch.rand(
        batch, 1, 1, 1, generator=generator
    )


PARTS = {
    12: [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
    11: [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]],
    10: [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]],
    9: [[0, 1, 2, 3], [4, 5, 6, 7, 8]],  # a single image joins those before it
    5: [[0, 1, 2, 3, 4]],
    4: [[0, 1, 2, 3]],
    3: [[0, 1, 2]],
}


class TestValues:
    @pytest.mark.parametrize("batch", PARTS)
    def test_against_a_slow_loop(self, batch: int) -> None:
        norm = layer(momentum=0.3).double()
        mean, variance = np.zeros(C), np.ones(C)
        for seed in range(2):
            images = draw(batch, seed).double()
            expected, step_mean, step_variance = reference(
                images.numpy(), PARTS[batch], norm.weight.detach().numpy(), norm.bias.detach().numpy()
            )
            mean, variance = 0.7 * mean + 0.3 * step_mean, 0.7 * variance + 0.3 * step_variance
            np.testing.assert_allclose(norm(images).detach().numpy(), expected, atol=1e-10)
            np.testing.assert_allclose(norm.running_mean.numpy(), mean, atol=1e-12)
            np.testing.assert_allclose(norm.running_var.numpy(), variance, atol=1e-12)
        assert norm.num_batches_tracked == 2
        images = draw(5, 7).double()
        scale = norm.weight.detach().numpy() / np.sqrt(variance + 1e-5)
        per_channel = (images.numpy() - mean[:, None, None]) * scale[:, None, None]
        wanted = per_channel + norm.bias.detach().numpy()[:, None, None]
        np.testing.assert_allclose(norm.eval()(images).detach().numpy(), wanted, atol=1e-10)
        assert norm.num_batches_tracked == 2

    @pytest.mark.parametrize("batch", PARTS)
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_against_batch_norm_on_each_part(
        self, batch: int, memory_format: torch.memory_format, device: torch.device
    ) -> None:
        """Outputs, gradients and running statistics are those of eight devices, each with a batch norm of its own."""
        norm = layer().to(device)
        devices = [nn.BatchNorm2d(C).to(device) for _ in PARTS[batch]]
        for one in devices:
            one.load_state_dict(norm.state_dict())
        images = draw(batch).to(device).contiguous(memory_format=memory_format).requires_grad_()
        apart = [images.detach()[part].clone().requires_grad_() for part in PARTS[batch]]
        weights = torch.randn(batch, C, 3, 2, generator=torch.Generator().manual_seed(5)).to(device)
        output = norm(images)
        assert output.is_contiguous(memory_format=memory_format)
        (output * weights).sum().backward()
        for one, image, part in zip(devices, apart, PARTS[batch], strict=True):
            out = one(image)
            torch.testing.assert_close(output[part], out)
            (out * weights[part]).sum().backward()
            torch.testing.assert_close(images.grad[part], image.grad)
        for name in ("weight", "bias"):
            gradients = [getattr(one, name).grad for one in devices]
            torch.testing.assert_close(getattr(norm, name).grad, torch.stack(gradients).sum(dim=0))
        for name in ("running_mean", "running_var"):
            statistics = [getattr(one, name) for one in devices]
            torch.testing.assert_close(getattr(norm, name), torch.stack(statistics).mean(dim=0))

    def test_it_is_not_batch_norm_over_the_whole(self) -> None:
        images, norm = draw(12), layer()
        plain = nn.BatchNorm2d(C)
        plain.load_state_dict(norm.state_dict())
        assert (norm(images) - plain(images)).abs().max() > 0.1
        assert (norm.running_var - plain.running_var).abs().max() > 1e-3

    def test_cumulative_average_and_none_at_all(self) -> None:
        norm = layer(momentum=None)
        for seed in range(3):
            norm(draw(12, seed))
        steps = [reference(draw(12, seed).double().numpy(), PARTS[12], np.ones(C), np.zeros(C)) for seed in range(3)]
        np.testing.assert_allclose(norm.running_mean, np.mean([step[1] for step in steps], axis=0), rtol=1e-5)
        np.testing.assert_allclose(norm.running_var, np.mean([step[2] for step in steps], axis=0), rtol=1e-5)
        untracked = layer(track_running_stats=False)
        torch.testing.assert_close(untracked(draw(11)), layer()(draw(11)))


class TestInAStep:
    def test_under_autocast(self, device: torch.device) -> None:
        norm, images = layer().to(device), draw(11).to(device)
        full = copy.deepcopy(norm)(images.bfloat16().float())
        with torch.autocast(device.type, dtype=torch.bfloat16):
            half = norm(images.bfloat16())
        assert half.dtype == torch.bfloat16
        assert norm.running_mean.dtype == torch.float32
        torch.testing.assert_close(half.float(), full, atol=0.05, rtol=0.02)

    @pytest.mark.parametrize("batch", [12, 11])
    def test_compiles_whole(self, batch: int) -> None:
        torch._dynamo.reset()
        net = nn.Sequential(nn.Conv2d(C, C, 1), layer(), nn.ReLU()).to(memory_format=torch.channels_last)
        images = draw(batch).contiguous(memory_format=torch.channels_last)
        eager = copy.deepcopy(net)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        for _ in range(2):
            got, expected = compiled(images), eager(images)
            torch.testing.assert_close(got, expected)
            got.square().sum().backward()
            expected.square().sum().backward()
        for ours, theirs in zip(net.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
        for ours, theirs in zip(net.buffers(), eager.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs)
        torch._dynamo.reset()

    @pytest.mark.cuda
    def test_in_a_cuda_graph_without_a_wait(self) -> None:
        norm, images = layer().cuda(), draw(11).cuda()
        eager = copy.deepcopy(norm)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            norm(images)
        torch.cuda.synchronize()
        norm.load_state_dict(eager.state_dict())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = norm(images)
        for seed in range(3):
            images.copy_(draw(11, seed))
            graph.replay()
            torch.testing.assert_close(output, eager(images))
        torch.testing.assert_close(norm.running_var, eager.running_var)


class TestConversion:
    def test_a_net_keeps_its_tensors_and_names(self) -> None:
        net = CIFARResNet(depth=8, num_classes=5)
        before, tensors = dict(net.state_dict()), {id(tensor) for tensor in (*net.parameters(), *net.buffers())}
        expected = copy.deepcopy(net)
        number = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        state = torch.get_rng_state()
        assert use_virtual_batches(net, 4) == number == 7
        assert torch.equal(state, torch.get_rng_state())
        assert list(net.state_dict()) == list(before)
        assert {id(tensor) for tensor in (*net.parameters(), *net.buffers())} == tensors
        images = torch.randn(8, 3, 8, 8)
        assert torch.equal(net.eval()(images), expected.eval()(images))
        # Of one virtual batch it is the same net; of two it computes what two devices would, each on its own images.
        net.train()
        expected.train()
        torch.testing.assert_close(net(images[:4]), copy.deepcopy(expected)(images[:4]))
        apart = torch.cat([copy.deepcopy(expected)(images[:4]), copy.deepcopy(expected)(images[4:])])
        torch.testing.assert_close(net(images), apart, atol=1e-4, rtol=1e-4)
        freeze_with_shifted_bn(net)

    @pytest.mark.parametrize("name", ["timm:resnet18", "timm:tf_efficientnet_lite0", "torchvision:mobilenet_v2"])
    def test_library_backbones(self, name: str) -> None:
        torch.manual_seed(0)
        backbone = build_backbone(name, num_classes=0)
        apart, images = copy.deepcopy(backbone), torch.randn(4, 3, 32, 32)
        keys = list(backbone.state_dict())
        assert use_virtual_batches(backbone, 2) > 5
        assert list(backbone.state_dict()) == keys
        for net in (backbone, apart):
            net.train()
            for module in net.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        expected = torch.cat([copy.deepcopy(apart)(images[:2]), copy.deepcopy(apart)(images[2:])])
        torch.testing.assert_close(backbone(images), expected, atol=1e-3, rtol=1e-3)

    def test_refused(self) -> None:
        with pytest.raises(InputError, match="Sequential has no BatchNorm2d"):
            use_virtual_batches(nn.Sequential(nn.Conv2d(3, 3, 1), nn.LayerNorm(3)), 16)
        mixed = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3))
        with pytest.raises(InputError, match="1 is a BatchNorm1d: only BatchNorm2d"):
            use_virtual_batches(mixed, 16)
        assert type(mixed[0]) is nn.BatchNorm2d  # nothing was changed
        with pytest.raises(ValueError, match="at least 2, not 1"):
            VirtualBatchNorm2d(3, 1)

    def test_a_norm_in_two_places_stays_one(self) -> None:
        norm = nn.BatchNorm2d(3)
        net = nn.Sequential(norm, nn.Sequential(norm))
        assert use_virtual_batches(net, 2) == 1
        assert net[0] is net[1][0]
        assert net[0].weight is norm.weight


def test_sizes() -> None:
    assert doctest.testmod(sar_cls.models.virtual_batch_norm).attempted > 0
    for batch in range(1, 60):
        for size in (2, 3, 16):
            sizes = virtual_batches(batch, size)
            assert sum(sizes) == batch
            assert all(part == size for part in sizes[:-1])
            assert min(sizes) > 1 or batch == 1
            assert sizes[-1] <= size + 1
