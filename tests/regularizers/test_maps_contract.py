"""What holds for every regularizer on feature maps: labels, layouts and weights in every form, whole graphs, wrong input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sar_cls import REGULARIZERS, FixedAnchors, Regularizer

from .cases import CASES, FEAT_DIM, IGNORE, NUM_CLASSES, all_cases, assert_same_state, build, state_of


def draw_float(soft: bool, device: torch.device | str, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, FEAT_DIM, 4, 4, generator=generator)
    labels = torch.randint(NUM_CLASSES - 1, (2, 8, 8), generator=generator)
    ignored = torch.rand(2, 8, 8, generator=generator) < 0.3
    if not soft:
        return maps.to(device), labels.masked_fill(ignored, IGNORE).to(device)
    one_hot = torch.eye(NUM_CLASSES)[labels] * ~ignored.unsqueeze(-1)
    return maps.to(device), one_hot.permute(0, 3, 1, 2).to(device)


def step(
    module: Regularizer, classifier: nn.Module, maps: Tensor, targets: Tensor, weights: Tensor | None = None
) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    maps = maps.detach().requires_grad_()
    losses = module(maps, targets, classifier, weights)
    inputs = [maps, *classifier.parameters(), *module.parameters()]
    return losses, list(torch.autograd.grad(torch.stack(list(losses.values())).sum(), inputs, allow_unused=True))


def convolution(linear: nn.Linear) -> nn.Conv2d:
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1).to(linear.weight)
    conv.load_state_dict({"weight": linear.weight.detach()[:, :, None, None], "bias": linear.bias.detach()})
    return conv


@all_cases
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "bfloat16"])
def test_hard_soft_and_memory_layouts_agree(case: str, layout: str, device: torch.device) -> None:
    module, linear = build(case, device)
    twin, classifier = copy.deepcopy(module), convolution(linear)
    maps, labels = draw_float(False, device)
    maps = maps.bfloat16() if layout == "bfloat16" else maps
    other = maps.to(memory_format=torch.channels_last) if layout == "channels last" else maps.clone()
    hard, gradients = step(module, classifier, maps, labels)
    soft, soft_gradients = step(twin, classifier, other, draw_float(True, device)[1])
    for key in hard:
        assert hard[key].dtype == torch.float32
        torch.testing.assert_close(hard[key], soft[key])
    for a, b in zip(gradients, soft_gradients, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-4, atol=1e-6)  # type: ignore[arg-type]
    assert gradients[0] is None or gradients[0].dtype == maps.dtype


@all_cases
def test_weights_of_images_and_pixels(case: str, device: torch.device) -> None:
    """A weight of 0 is the ignore label; weights of the pixels of an image are that image's."""
    module, linear = build(case, device)
    classifier = convolution(linear)
    maps, labels = draw_float(False, device)
    by_label = labels.clone()
    by_label[1] = IGNORE
    image_weights = torch.tensor([1.0, 0.0], device=device)
    expected, gradients = step(copy.deepcopy(module), classifier, maps, by_label)
    for weights in (image_weights, image_weights[:, None, None].expand(2, 8, 8)):
        losses, got = step(copy.deepcopy(module), classifier, maps, labels, weights)
        for key in losses:
            assert torch.equal(losses[key], expected[key])
        for a, b in zip(gradients, got, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def test_another_ignore_index() -> None:
    maps, labels = draw_float(False, "cpu")
    module = FixedAnchors(NUM_CLASSES, FEAT_DIM, seed=0)
    expected = module(maps, labels)
    for index in (-100, NUM_CLASSES, 2**20):
        other = FixedAnchors(NUM_CLASSES, FEAT_DIM, seed=0, ignore_index=index)
        assert torch.equal(
            other(maps, labels.masked_fill(labels == IGNORE, index))["loss_anchor"], expected["loss_anchor"]
        )
    for name, kind in REGULARIZERS.items():
        assert kind(NUM_CLASSES, FEAT_DIM, ignore_index=7).ignore_index == 7, name
        with pytest.raises(ValueError, match=r"ignore_index is 'x': give a whole number$"):
            kind(NUM_CLASSES, FEAT_DIM, ignore_index="x")


def test_the_ignore_label_is_a_class_of_vectors() -> None:
    """300 classes of images: label 255 is one of them, and a map of them needs another ignore label."""
    module = FixedAnchors(300, 2)
    features = torch.randn(2, 2)
    expected = 0.1 * (features - module.class_anchors[[255, 3]]).square().mean()
    torch.testing.assert_close(module(features, torch.tensor([255, 3]))["loss_anchor"], expected)
    with pytest.raises(ValueError, match="ignore_index 255 is one of the 300 classes: construct with another"):
        module(torch.randn(1, 2, 1, 1), torch.zeros(1, 1, 1).long())
    FixedAnchors(300, 2, ignore_index=300)(torch.randn(1, 2, 1, 1), torch.zeros(1, 1, 1).long())


@pytest.mark.parametrize("case", ["SAR open", "CAR running, linear", "CenterLoss"])
def test_compiles_whole_and_computes_the_same(case: str) -> None:
    torch._dynamo.reset()
    module, linear = build(case, "cpu")
    classifier = convolution(linear)

    class Head(nn.Module):
        def __init__(self, module: Regularizer) -> None:
            super().__init__()
            self.module, self.classifier = module, classifier

        def forward(self, maps: Tensor, targets: Tensor) -> dict[str, Tensor]:
            return self.module(maps, targets, self.classifier)

    eager = Head(module)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    for seed in range(2):
        maps, targets = draw_float(False, "cpu", seed)
        results = []
        for head in (eager, compiled):
            own = maps.clone().requires_grad_()
            losses = head(own, targets)
            torch.stack(list(losses.values())).sum().backward()
            results.append((losses, own.grad))
        (expected, expected_gradient), (got, gradient) = results
        for key in expected:
            torch.testing.assert_close(got[key], expected[key])
        torch.testing.assert_close(gradient, expected_gradient)


LABELS = torch.zeros(2, 8, 8).long()
MAPS = torch.zeros(2, FEAT_DIM, 4, 4)


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
@pytest.mark.parametrize(
    ("maps", "targets", "weights", "remedy"),
    [
        (torch.zeros(2, 7, 4, 4), LABELS, None, r"give \[N, 6, H, W\]"),
        (MAPS, LABELS[:1], None, r"int64 \[2, h, w\] or label weights \[2, 5, h, w\]"),
        (MAPS, torch.zeros(2, 4, 8, 8), None, r"label weights \[2, 5, h, w\]"),
        (MAPS, torch.zeros(2, 8, 8), None, r"int64 \[2, h, w\]"),
        (MAPS, LABELS.unsqueeze(1), None, r"int64 \[2, h, w\]"),
        (MAPS, LABELS.to(torch.uint8), None, r"\.long\(\)"),
        (MAPS, torch.zeros(2, 0, 8).long(), None, "without a pixel: skip the step"),
        (torch.zeros(2, FEAT_DIM, 0, 4), LABELS, None, "without a pixel: skip the step"),
        (MAPS.long(), LABELS, None, "floating point"),
        (MAPS, torch.full_like(LABELS, 5), None, "from 0 to 4, or 255 for none: check the labels$"),
        (MAPS, torch.full_like(LABELS, -1), None, "from 0 to 4, or 255 for none: check the labels$"),
        (MAPS, torch.full((2, 5, 8, 8), 0.3), None, r"sum to 1 in each row \(0 in an ignored pixel\)"),
        (MAPS, LABELS, torch.ones(3), r"give \[2\], one for each image, or \[2, 8, 8\]"),
        (MAPS, LABELS, torch.ones(2, 4, 4), r"or \[2, 8, 8\], one for each pixel"),
        (MAPS, LABELS, torch.ones(2).long(), r"convert them by \.float\(\)"),
        (MAPS, LABELS, -torch.ones(2), "finite and at least 0"),
        (torch.zeros(2, FEAT_DIM), LABELS, None, "give class indices"),
        (MAPS, torch.zeros(2).long(), None, "after global pooling"),
    ],
)
def test_wrong_input(name: str, maps: Tensor, targets: Tensor, weights: Any, remedy: str) -> None:
    module = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM)
    before = state_of(module)
    with pytest.raises(ValueError, match=remedy) as caught:
        module(maps, targets, nn.Conv2d(FEAT_DIM, NUM_CLASSES, 1), weights)
    assert "\n" not in str(caught.value)
    assert_same_state(before, state_of(module))


def test_all_methods_are_covered() -> None:
    assert {name for name, _ in CASES.values()} == set(REGULARIZERS)
