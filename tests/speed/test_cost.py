"""Counted parameters, operations and bytes against the formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sar_cls.mm.loaders import DataSplits
from sar_cls.speed import markdown as table
from sar_cls.speed.cost import count_flops, measure_costs, peak_bytes
from sar_cls.speed.profile import profile_step
from sar_cls.speed.setting import Setting

N, C, D = 8, 10, 64


@pytest.fixture(scope="module")
def costs(splits: DataSplits) -> dict:
    setting = Setting("resnet32", torch.device("cpu"), batch_size=N)
    return {cost.method: cost for cost in measure_costs(setting, splits)}


def test_what_sar_adds(costs: dict) -> None:
    plain, sar = costs["none"], costs["SAR"]
    # Two blocks of a linear layer with bias and a batch norm.
    assert sar.parameters - plain.parameters == 2 * (D * D + D + 2 * D)
    # The anchors through both linear layers and the classifier; the semantic anchors of the labels are gathered.
    assert sar.forward - plain.forward == 2 * (2 * C * D * D + C * D * C)
    assert sar.step - plain.step > sar.forward - plain.forward
    assert sar.peak_bytes > plain.peak_bytes


def test_fixed_anchors_are_gathered_without_a_product(costs: dict) -> None:
    assert costs["FixedAnchors"].parameters == costs["none"].parameters
    assert costs["FixedAnchors"].forward == costs["none"].forward


def test_the_network_itself(costs: dict) -> None:
    """ResNet-32 on 8x8 images: 31 convolutions and the classifier."""
    sizes = [(3, 16, 8)] + [(16, 16, 8)] * 10 + [(16, 32, 4)] + [(32, 32, 4)] * 9 + [(32, 64, 2)] + [(64, 64, 2)] * 9
    one_image = sum(2 * 9 * before * after * side * side for before, after, side in sizes) + 2 * D * C
    assert costs["none"].inference == one_image
    assert costs["none"].forward == N * one_image
    weights = sum(9 * before * after + 2 * after for before, after, _ in sizes) + D * C + C
    assert costs["none"].parameters == costs["none"].inference_parameters == weights


def test_inference_is_the_same_for_all(costs: dict) -> None:
    assert len({(cost.inference_parameters, cost.inference) for cost in costs.values()}) == 1
    text = table.cost_table(list(costs.values()))
    assert "At inference all are the same" in text
    assert "+0.0" in text


def test_flops_of_a_product() -> None:
    assert count_flops(lambda: torch.randn(3, 5) @ torch.randn(5, 7)) == 2 * 3 * 5 * 7


class TestPeak:
    def test_of_tensors_that_come_and_go(self) -> None:
        held = torch.zeros(100)

        def run() -> None:
            first = torch.zeros(1000)
            second = first + 1
            del first
            third = torch.zeros(500)
            del second, third
            torch.zeros(1800)

        # first and second together are 2000 numbers; nothing later is more.
        assert peak_bytes(run, [held]) == 4 * (100 + 2000)

    def test_what_the_backward_pass_needs_stays(self) -> None:
        x = torch.zeros(1000, requires_grad=True)
        results = []

        def run() -> None:
            results.append(x.exp().exp())
            torch.zeros(1000)

        # Of the two exp both results are saved for the backward pass; then the last zeros.
        assert peak_bytes(run, [x]) == 4 * 4000

    def test_a_view_is_no_memory(self) -> None:
        held = torch.zeros(1000)
        assert peak_bytes(lambda: held.view(10, 100).t(), [held]) == 4000


def test_profile(setting: Setting, splits: DataSplits, tmp_path: Path) -> None:
    found = profile_step(setting, splits, tmp_path / "traces", "SAR")
    assert json.loads(found.trace.read_text())["traceEvents"]
    times = [milliseconds for _, milliseconds, _ in found.operations]
    assert len(times) == 10
    assert times == sorted(times, reverse=True)
    assert found.kernels is None
    convolutions = [calls for name, _, calls in found.operations if name == "aten::convolution_backward"]
    assert convolutions in ([31.0], [])  # all of ResNet-32's, a step
    assert str(found.trace) in table.profile_table(found)


@pytest.mark.cuda
def test_profile_counts_kernels(splits: DataSplits, tmp_path: Path) -> None:
    setting = Setting("resnet32", torch.device("cuda"), batch_size=8, steps=4)
    found = profile_step(setting, splits, tmp_path)
    assert found.kernels is not None
    assert found.kernels > 100
