"""Feature maps: every method against the loops of ``reference.py`` over the pixels that have a class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sar_cls import CAR, REGULARIZERS, SAR, CenterLoss, FixedAnchors, Regularizer

from . import reference
from .batches import numpy
from .cases import CASES, FEAT_DIM, NUM_CLASSES, all_cases, assert_same_state, build, state_of
from .sar_cases import nearest_anchor_classifier

IGNORE = 255
SIZE = (2, 3)  # of the feature maps
Expected = dict[str, Callable[[np.ndarray, np.ndarray], float]]


def draw(kind: str, resolution: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Maps [2, D, 2, 3] and labels [2, h, w] or soft labels [2, C, h, w]; the last class is absent."""
    generator = torch.Generator().manual_seed(sum(resolution))
    maps = torch.randn(2, FEAT_DIM, *SIZE, dtype=torch.float64, generator=generator)
    labels = torch.randint(NUM_CLASSES - 1, (2, *resolution), generator=generator)
    ignored = torch.rand(2, *resolution, generator=generator) < {"all": 0.0}.get(kind, 0.35)
    if kind == "none left":
        ignored = torch.ones_like(ignored)
    if kind != "soft":
        return maps.to(device), labels.masked_fill(ignored, IGNORE).to(device)
    one_hot = torch.eye(NUM_CLASSES, dtype=torch.float64)[labels]
    soft = (0.7 * one_hot + 0.3 * one_hot.flip(1)) * ~ignored.unsqueeze(-1)
    return maps.to(device), soft.permute(0, 3, 1, 2).contiguous().to(device)


def pixels_that_count(
    maps: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int]]]:
    """Features [K, D] and label weights [K, C] pixel by pixel, nearest labels, and where each pixel is."""
    features, weights, places = [], [], []
    height, width = targets.shape[-2:]
    for n in range(len(maps)):
        for r in range(SIZE[0]):
            for c in range(SIZE[1]):
                there = targets[n, ..., r * height // SIZE[0], c * width // SIZE[1]]
                row = np.zeros(NUM_CLASSES)
                if targets.ndim == 4:
                    row[:] = there
                elif there != IGNORE:
                    row[there] = 1.0
                if row.any():
                    features.append(maps[n, :, r, c])
                    weights.append(row)
                    places.append((n, r, c))
    return np.array(features).reshape(-1, maps.shape[1]), np.array(weights).reshape(-1, NUM_CLASSES), places


def check(losses: dict[str, Tensor], maps: Tensor, targets: Tensor, expected: Expected) -> None:
    """Values, and gradients by difference quotients: those of pixels without a class are 0."""
    _, y, places = pixels_that_count(numpy(maps), targets.cpu().numpy())

    def of_maps(function: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray) -> float:
        return function(pixels_that_count(values, targets.cpu().numpy())[0], y) if places else 0.0

    for name, function in expected.items():
        assert losses[name].item() == pytest.approx(of_maps(function, numpy(maps)), rel=1e-9, abs=1e-12), name
        (gradient,) = torch.autograd.grad(losses[name], maps, retain_graph=True)
        numeric = reference.numeric_gradient(lambda f, function=function: of_maps(function, f), numpy(maps))
        np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-5, atol=1e-8, err_msg=name)
        for n in range(2):
            for r in range(SIZE[0]):
                for c in range(SIZE[1]):
                    assert (n, r, c) in places or not gradient[n, :, r, c].any()


all_kinds = pytest.mark.parametrize("kind", ["all", "some ignored", "none left", "soft"])
all_resolutions = pytest.mark.parametrize("resolution", [SIZE, (4, 6), (5, 7), (1, 2)], ids=str)


@all_kinds
@all_resolutions
def test_fixed_anchors(kind: str, resolution: tuple[int, int], device: torch.device) -> None:
    module = FixedAnchors(NUM_CLASSES, FEAT_DIM, weight=0.3).double().to(device)
    maps, targets = draw(kind, resolution, device)
    anchors, used = numpy(module.class_anchors), [True] * NUM_CLASSES
    losses = module(maps.requires_grad_(), targets)
    check(losses, maps, targets, {"loss_anchor": lambda f, y: 0.3 * reference.anchor_loss(f, y, anchors, used)})


@all_kinds
@all_resolutions
@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_sar(kind: str, resolution: tuple[int, int], gate: str, device: torch.device) -> None:
    """With a 1x1 convolution for its classifier, as a segmentation head has."""
    torch.manual_seed(0)
    module = SAR(NUM_CLASSES, FEAT_DIM, gate=gate, anchor_weight=0.3).double().to(device)
    linear = nearest_anchor_classifier(module, 0.4)
    classifier = nn.Conv2d(FEAT_DIM, NUM_CLASSES, 1).double().to(device)
    classifier.load_state_dict({"weight": linear.weight.detach()[:, :, None, None], "bias": linear.bias.detach()})
    embedded = copy.deepcopy(module).embedding(module.class_anchors)
    probs = linear(embedded).detach().softmax(dim=1).diagonal().sort().values
    module.delta = probs[:2].mean().item() if gate == "per_class" else 1e-6
    twin = copy.deepcopy(module)
    maps, targets = draw(kind, resolution, device)
    losses = module(maps.requires_grad_(), targets, classifier)
    used, anchors = module.initialized.tolist(), numpy(module.semantic_anchors)
    assert sum(used) == (NUM_CLASSES if gate == "all" else NUM_CLASSES - 1)
    check(losses, maps, targets, {"loss_anchor": lambda f, y: 0.3 * reference.anchor_loss(f, y, anchors, used)})
    # The auxiliary loss and its gradients are those of the linear classifier, whatever the pixels are.
    vectors = twin(torch.randn(3, FEAT_DIM).to(maps), torch.tensor([0, 1, 2], device=device), linear)
    assert losses["loss_aux"].item() == pytest.approx(vectors["loss_aux"].item(), rel=1e-12)
    ours = torch.autograd.grad(losses["loss_aux"], [*classifier.parameters(), *module.parameters()])
    theirs = torch.autograd.grad(vectors["loss_aux"], [*linear.parameters(), *twin.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.reshape(b.shape), b)
    assert_same_state(
        {k: v for k, v in state_of(module).items() if k != "_sums"},
        {k: v for k, v in state_of(twin).items() if k != "_sums"},
    )


@all_kinds
@all_resolutions
def test_car(kind: str, resolution: tuple[int, int], device: torch.device) -> None:
    maps, targets = draw(kind, resolution, device)
    held, present = reference.centers(*pixels_that_count(numpy(maps), targets.cpu().numpy())[:2])
    for as_zero in (False, True):
        module = CAR(NUM_CLASSES, FEAT_DIM, absent_as_zero=as_zero).double().to(device)
        has_center = [True] * NUM_CLASSES if as_zero else present
        expected: Expected = {
            "loss_intra": lambda f, y: reference.car_intra(f, y, held),
            "loss_inter_c2c": lambda f, y, has=has_center: reference.car_c2c(reference.centers(f, y)[0], held, has),
            "loss_inter_c2s": lambda f, y, has=has_center: reference.car_c2s(f, y, held, has),
        }
        check(module(maps.requires_grad_(), targets), maps, targets, expected)


@all_kinds
@all_resolutions
def test_center_loss_and_its_centers(kind: str, resolution: tuple[int, int], device: torch.device) -> None:
    module = CenterLoss(NUM_CLASSES, FEAT_DIM, weight=0.3, center_lr=0.4).double().to(device)
    centers = np.random.default_rng(0).normal(size=(NUM_CLASSES, FEAT_DIM))
    module.centers.copy_(torch.from_numpy(centers))
    maps, targets = draw(kind, resolution, device)
    losses = module(maps.requires_grad_(), targets)
    check(losses, maps, targets, {"loss_center": lambda f, y: 0.3 * reference.center_loss(f, y, centers)})
    features, y, _ = pixels_that_count(numpy(maps), targets.cpu().numpy())
    moved = reference.moved_centers(features, y, centers, 0.4)
    np.testing.assert_allclose(numpy(module.centers), moved, rtol=1e-9, atol=1e-12)


def test_the_drawn_maps_have_what_they_are_drawn_for() -> None:
    """Ignored and counted pixels, and an absent class; otherwise the comparisons above could be of nothing."""
    for kind, least, most in (("all", 12, 12), ("some ignored", 4, 11), ("none left", 0, 0), ("soft", 4, 11)):
        maps, targets = draw(kind, (4, 6), torch.device("cpu"))
        _, y, places = pixels_that_count(numpy(maps), targets.numpy())
        assert least <= len(places) <= most
        assert not y[:, NUM_CLASSES - 1].any()


# CAR's published setting


def test_published_dense_setting() -> None:
    torch.manual_seed(0)
    module = CAR.published_dense(NUM_CLASSES, FEAT_DIM).double()
    torch.manual_seed(0)
    by_hand = CAR(
        NUM_CLASSES,
        FEAT_DIM,
        absent_as_zero=True,
        linear_layer=True,
        linear_width=FEAT_DIM,
        sync_centers=True,
        intra_counts_ignored=True,
        c2s_counts_ignored=True,
    ).double()
    maps, targets = draw("some ignored", (4, 6), torch.device("cpu"))
    losses, same = module(maps, targets), by_hand(maps, targets)
    assert all(torch.equal(losses[key], same[key]) for key in losses)

    # Every pixel through the layer; those without a class count as 0 in the first term and as classless in the last.
    features = maps.permute(0, 2, 3, 1).reshape(-1, FEAT_DIM)
    projected = numpy(features) @ numpy(module.linear.weight).T + numpy(module.linear.bias)
    kept, y, places = pixels_that_count(projected.reshape(2, *SIZE, FEAT_DIM).transpose(0, 3, 1, 2), targets.numpy())
    assert 0 < len(places) < 12
    held, _ = reference.centers(kept, y)
    with_zeros, i = np.zeros((12, NUM_CLASSES)), 0
    for n in range(2):
        for r in range(SIZE[0]):
            for c in range(SIZE[1]):
                if (n, r, c) in places:
                    with_zeros[i] = y[places.index((n, r, c))]
                i += 1
    total = sum(np.abs(held[y[k].argmax()] - kept[k]).sum() for k in range(len(kept)))
    assert losses["loss_intra"].item() == pytest.approx((total / projected.size) ** 2, rel=1e-9)
    assert losses["loss_inter_c2c"].item() == pytest.approx(
        reference.car_c2c(held, held, [True] * NUM_CLASSES), rel=1e-9
    )
    expected = reference.car_c2s(projected, with_zeros, held, [True] * NUM_CLASSES)
    assert losses["loss_inter_c2s"].item() == pytest.approx(expected, rel=1e-9)


def test_published_dense_setting__width() -> None:
    module = CAR.published_dense(3, 2048, running_centers=True)
    assert module.linear.weight.shape == (512, 2048)
    assert module.centers.shape == (3, 512)
    assert CAR.published_dense(3, 720).width == 512
    assert CAR.published_dense(3, 128).width == 128
    assert CAR.published_dense(3, 720, linear_width=9).width == 9
    assert isinstance(CAR.published_dense(3, 4, linear_layer=False).linear, nn.Identity)
    losses = CAR(3, 5, linear_layer=True, linear_width=2, running_centers=True)(torch.randn(4, 5), torch.arange(4) % 3)
    assert all(torch.isfinite(loss) for loss in losses.values())
    with pytest.raises(ValueError, match="set linear_layer=True"):
        CAR(3, 4, linear_width=2)
    with pytest.raises(ValueError, match="linear_width is 0: give a whole number of at least 1"):
        CAR(3, 4, linear_layer=True, linear_width=0)


# What holds for all


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
        (MAPS, torch.full_like(LABELS, 5), None, "from 0 to 4, or 255 for none"),
        (MAPS, torch.full_like(LABELS, -1), None, "from 0 to 4, or 255 for none"),
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
