"""What every regularizer refuses, in one sentence and with its state as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sar_cls import REGULARIZERS

from .cases import all_cases, assert_same_state, build, draw_batch, state_of


@all_cases
@pytest.mark.parametrize(
    ("features", "targets", "remedy"),
    [
        (torch.zeros(8, 7), torch.zeros(8).long(), r"give \[N, 6\]"),
        (torch.zeros(8, 6, 1, 1), torch.zeros(8).long(), "after global pooling"),
        (torch.zeros(6), torch.zeros(1).long(), r"give \[N, 6\]"),
        (torch.zeros(0, 6), torch.zeros(0).long(), "skip the step"),
        (torch.zeros(8, 6).long(), torch.zeros(8).long(), "floating point"),
        (torch.zeros(8, 6), torch.zeros(7).long(), "one for each"),
        (torch.zeros(8, 6), torch.zeros(8), r"\.long\(\)"),
        (torch.zeros(8, 6), torch.zeros(8).int(), r"\.long\(\)"),
        (torch.zeros(8, 6), torch.full((8, 4), 0.25), r"label weights \[8, 5\]"),
        (torch.zeros(8, 6), torch.eye(5)[torch.zeros(8).long()].long(), r"\.float\(\)"),
        (torch.zeros(8, 6), torch.full((8,), 5), "from 0 to 4"),
        (torch.zeros(8, 6), torch.full((8,), -1), "from 0 to 4"),
        (torch.zeros(8, 6), torch.full((8, 5), 0.3), "sum to 1"),
        (torch.zeros(8, 6), torch.tensor([[1.5, -0.5, 0, 0, 0]] * 8), "at least 0"),
        (torch.zeros(8, 6), torch.full((8, 5), torch.nan), "sum to 1"),
    ],
)
def test_wrong_input(case: str, features: Tensor, targets: Tensor, remedy: str) -> None:
    module, classifier = build(case, "cpu")
    before = state_of(module)
    with pytest.raises(ValueError, match=remedy) as caught:
        module(features, targets, classifier)
    assert "\n" not in str(caught.value)
    assert_same_state(before, state_of(module))


@pytest.mark.parametrize("case", ["SAR open", "CAR running, linear", "FixedAnchors", "CenterLoss"])
def test_module_of_another_dtype_than_the_computation(case: str) -> None:
    module, classifier = build(case, "cpu")
    features, targets = draw_batch("cpu")
    with pytest.raises(ValueError, match=r"convert the regularizer by \.double\(\)"):
        module(features.double(), targets, classifier)
    with pytest.raises(ValueError, match=r"convert the regularizer by \.float\(\)"):
        module.double()(features, targets, classifier)
    module.float()(features, targets, classifier)


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize(
    ("sizes", "remedy"),
    [((1, 4), "at least 2"), ((3, 0), "at least 1"), ((2.5, 4), "whole number"), ((3, None), "whole number")],
)
def test_wrong_sizes(name: str, sizes: tuple, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        REGULARIZERS[name](*sizes)


@pytest.mark.cuda
def test_targets_on_another_device() -> None:
    module, classifier = build("CAR", "cuda")
    features, _ = draw_batch("cuda")
    with pytest.raises(ValueError, match="move the targets"):
        module(features, draw_batch("cpu")[1], classifier)
