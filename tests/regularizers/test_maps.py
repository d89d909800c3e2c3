"""Every regularizer on feature maps against the loops of ``reference.py`` over the pixels that count."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sar_cls import CAR, SAR, CenterLoss, FixedAnchors

from . import reference
from .batches import numpy
from .cases import FEAT_DIM, IGNORE, NUM_CLASSES, assert_same_state, state_of
from .sar_cases import nearest_anchor_classifier

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
