"""CAR against the loops of ``reference.py``; stop-gradients are checked by moving and holding the centres apart."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sar_cls import CAR

from . import reference
from .batches import numpy

SHAPES = [(2, 3, 6), (5, 4, 3), (4, 2, 1), (3, 6, 12)]  # (C, D, N): C > N, N = 1
KEYS = ["loss_intra", "loss_inter_c2c", "loss_inter_c2s"]


def draw_batch(
    shape: tuple[int, int, int], kind: str, device: torch.device, seed: int = 0, spread: float = 1.0
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Features, targets and the label weights of the reference. ``absent`` never draws the last class."""
    num_classes, feat_dim, num_samples = shape
    generator = torch.Generator().manual_seed(seed)
    features = spread * torch.randn(num_samples, feat_dim, dtype=torch.float64, generator=generator)
    drawn = num_classes - (kind in ("absent", "mixup"))
    labels = torch.randint(drawn, (num_samples,), generator=generator)
    weights = reference.one_hot(labels.numpy(), num_classes)
    if kind == "mixup":
        weights = 0.3 * weights + 0.7 * weights[::-1]
    if kind == "soft":
        weights = 0.1 / num_classes + 0.9 * weights
    soft = kind in ("mixup", "soft")
    return features.to(device), (torch.from_numpy(weights.copy()) if soft else labels).to(device), weights


def expected_losses(moving: np.ndarray, held: np.ndarray, weights: np.ndarray, as_zero: bool) -> list[float]:
    """The three terms where gradient-carrying features are ``moving`` and stopped ones are ``held``."""
    moving_centers, present = reference.centers(moving, weights)
    fixed_centers, _ = reference.centers(held, weights)
    has_center = [True] * len(present) if as_zero else present
    return [
        reference.car_intra(moving, weights, fixed_centers),
        reference.car_c2c(moving_centers, fixed_centers, has_center),
        reference.car_c2s(moving, weights, fixed_centers, has_center),
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["hard", "absent", "soft", "mixup"])
@pytest.mark.parametrize("as_zero", [False, True], ids=["out", "as zero"])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_values_and_gradients(
    shape: tuple[int, int, int], kind: str, as_zero: bool, spread: float, device: torch.device
) -> None:
    car = CAR(*shape[:2], absent_as_zero=as_zero).double().to(device)
    features, targets, weights = draw_batch(shape, kind, device, seed=shape[0], spread=spread)
    features.requires_grad_()
    losses = car(features, targets)
    base = numpy(features)
    assert list(losses) == KEYS
    np.testing.assert_allclose(
        [losses[key].item() for key in KEYS], expected_losses(base, base, weights, as_zero), rtol=1e-9
    )
    for index, key in enumerate(KEYS):
        (gradient,) = torch.autograd.grad(losses[key], features, retain_graph=True)
        numeric = reference.numeric_gradient(
            lambda f, index=index: expected_losses(f, base, weights, as_zero)[index], base
        )
        np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-5, atol=1e-8, err_msg=key)


def test_every_term_has_a_gradient_somewhere(device: torch.device) -> None:
    """Otherwise the comparison above could be one of zeros."""
    features, targets, _ = draw_batch((3, 6, 12), "hard", device, seed=3, spread=0.5)
    features.requires_grad_()
    for loss in CAR(3, 6).double().to(device)(features, targets).values():
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        assert gradient.abs().max() > 1e-4


def test_a_hand_computed_batch(device: torch.device) -> None:
    """Two classes in one dimension, small enough for paper and pencil."""
    features = torch.tensor([[1.0], [3.0], [-2.0]], dtype=torch.float64, device=device)
    labels = torch.tensor([0, 0, 1], device=device)
    losses = CAR(2, 1).double().to(device)(features, labels)
    # Centres 2 and -2. |P_y - f| = 1, 1, 0.
    assert losses["loss_intra"].item() == pytest.approx((2 / 3) ** 2)
    # Rows (4, -4) and (-4, 4): the other entry is sigmoid(-8), below 0.5 / 1; nothing counts.
    assert losses["loss_inter_c2c"].item() == pytest.approx(1e-5**2)
    # Own entries are replaced by 4; others -2, -6, -4; all below 0.25.
    assert losses["loss_inter_c2s"].item() == pytest.approx(1e-5**2)
    losses = CAR(2, 1, c2c_margin=0, c2s_margin=0).double().to(device)(features, labels)
    sigmoid = [1 / (1 + math.exp(x)) for x in (8, 6, 10, 8)]
    assert losses["loss_inter_c2c"].item() == pytest.approx(sigmoid[0] ** 2)
    assert losses["loss_inter_c2s"].item() == pytest.approx((sum(max(s, 1e-5) for s in sigmoid[1:]) / 3) ** 2)


def test_center_to_sample__no_gradient_into_the_centers(device: torch.device) -> None:
    """Only a sample whose own row exceeds the threshold moves, though every centre is a mean of samples that do not."""
    # Centres 1 and -3, one dimension, theta = 0.25. Row of 4: own energy 1, other -12. Row of -2: own 1, other 6. Row of
    # -3: own 9, other -3. Only the second has an entry above the threshold, sigmoid(5).
    features = torch.tensor([[4.0], [-2.0], [-3.0]], dtype=torch.float64, device=device, requires_grad=True)
    loss = CAR(2, 1).double().to(device)(features, torch.tensor([0, 0, 1], device=device))["loss_inter_c2s"]
    loss.backward()
    sigmoid = 1 / (1 + math.exp(-5))
    mean = (sigmoid - 0.25 + 2e-5) / 3
    assert loss.item() == pytest.approx(mean**2)
    by_hand = 2 * mean * sigmoid * (1 - sigmoid) * -3 / 3  # the energy 6 is f times -3
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [0.0, pytest.approx(by_hand), 0.0]


@pytest.mark.parametrize("kind", ["hard", "absent", "soft", "mixup"])
@pytest.mark.parametrize("setting", ["plain", "published"])
@pytest.mark.parametrize("seed", range(5))
def test_center_to_sample__gradient_of_random_batches(kind: str, setting: str, seed: int, device: torch.device) -> None:
    """Enough batches that a gradient which only happens to be near the published one shows."""
    shape = (4, 6, 9)
    features, targets, weights = draw_batch(shape, kind, device, seed=seed, spread=1.0)
    car = CAR(*shape[:2]) if setting == "plain" else CAR.published(*shape[:2], linear_layer=False)
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(car.double().to(device)(features, targets)["loss_inter_c2s"], features)
    held, present = reference.centers(numpy(features), weights)
    has_center = [True] * shape[0] if setting == "published" else present
    numeric = reference.numeric_gradient(lambda f: reference.car_c2s(f, weights, held, has_center), numpy(features))
    assert np.abs(numeric).max() > 1e-4
    np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-5, atol=1e-8)


def test_published_setting() -> None:
    torch.manual_seed(0)
    published = CAR.published(6, 3, decay=0.5).double()
    torch.manual_seed(0)
    by_hand = CAR(6, 3, absent_as_zero=True, linear_layer=True, decay=0.5).double()
    features, labels, weights = draw_batch((6, 3, 5), "absent", torch.device("cpu"), spread=3.0)
    losses = published(features, labels)
    assert all(torch.equal(losses[key], value) for key, value in by_hand(features, labels).items())
    assert not torch.allclose(losses["loss_inter_c2s"], CAR(6, 3).double()(features, labels)["loss_inter_c2s"])
    projected = numpy(features) @ numpy(published.linear.weight).T + numpy(published.linear.bias)
    np.testing.assert_allclose(
        [losses[key].item() for key in KEYS], expected_losses(projected, projected, weights, True), rtol=1e-9
    )
    assert isinstance(CAR.published(6, 3, linear_layer=False).linear, torch.nn.Identity)
    with pytest.raises(ValueError, match="decay"):
        CAR.published(6, 3, decay=2.0)


def test_absent_classes_take_part_in_no_term(device: torch.device) -> None:
    """More classes that never occur change nothing but the thresholds, which are counted back here."""
    features, labels, _ = draw_batch((3, 4, 9), "hard", device)
    few = CAR(3, 4).double().to(device)(features, labels)
    many = CAR(10, 4, c2c_margin=0.5 * 9 / 2, c2s_margin=0.25 * 9 / 2).double().to(device)(features, labels)
    as_zero = CAR(10, 4, c2c_margin=0.5 * 9 / 2, c2s_margin=0.25 * 9 / 2, absent_as_zero=True).double().to(device)
    for key in KEYS:
        torch.testing.assert_close(few[key], many[key])
    assert not torch.allclose(few["loss_inter_c2s"], as_zero(features, labels)["loss_inter_c2s"])


def test_one_class_in_the_batch(device: torch.device) -> None:
    features = torch.randn(4, 3, dtype=torch.float64, device=device, requires_grad=True)
    losses = CAR(5, 3).double().to(device)(features, torch.full((4,), 2, device=device))
    assert losses["loss_inter_c2c"].item() == pytest.approx(1e-10)
    assert losses["loss_inter_c2s"].item() == pytest.approx(1e-10)
    sum(losses.values()).backward()
    assert torch.isfinite(features.grad).all()


def test_intra_stops_at_its_floor(device: torch.device) -> None:
    features = (1 + 1e-4 * torch.randn(4, 3, dtype=torch.float64)).to(device).requires_grad_()
    loss = CAR(2, 3).double().to(device)(features, torch.tensor([0, 0, 1, 1], device=device))["loss_intra"]
    loss.backward()
    assert loss.item() == 1e-5
    assert not features.grad.any()


def test_one_hot_targets_equal_class_indices(device: torch.device) -> None:
    features, labels, weights = draw_batch((4, 3, 8), "absent", device)
    hard = CAR(4, 3).double().to(device)(features, labels)
    soft = CAR(4, 3).double().to(device)(features, torch.from_numpy(weights).to(device))
    assert all(torch.equal(hard[key], soft[key]) for key in KEYS)


def test_weights_scale_the_terms(device: torch.device) -> None:
    features, labels, _ = draw_batch((4, 3, 8), "hard", device)
    plain = CAR(4, 3).double().to(device)(features, labels)
    scaled = CAR(4, 3, intra_weight=2, c2c_weight=0, c2s_weight=0.5).double().to(device)(features, labels)
    for key, factor in zip(KEYS, (2, 0, 0.5), strict=True):
        torch.testing.assert_close(scaled[key], factor * plain[key])


def test_linear_layer_projects_the_features(device: torch.device) -> None:
    car = CAR(4, 3, linear_layer=True).double().to(device)
    features, labels, weights = draw_batch((4, 3, 8), "hard", device, spread=3.0)
    features.requires_grad_()
    losses = car(features, labels)
    weight, bias = numpy(car.linear.weight), numpy(car.linear.bias)
    projected = np.array([[weight[j] @ f + bias[j] for j in range(3)] for f in numpy(features)])
    np.testing.assert_allclose(
        [losses[key].item() for key in KEYS], expected_losses(projected, projected, weights, False), rtol=1e-9
    )
    losses["loss_intra"].backward()
    assert features.grad.any()
    assert car.linear.weight.grad.any()


@pytest.mark.parametrize("kind", ["absent", "mixup"])
def test_running_centers(kind: str, device: torch.device) -> None:
    shape = (4, 3, 5)
    car = CAR(4, 3, running_centers=True, decay=0.8).double().to(device)
    stored, started = np.zeros((4, 3)), [False] * 4
    for step in range(4):
        features, targets, weights = draw_batch(shape, kind, device, seed=step)
        features.requires_grad_()
        base = numpy(features)

        def blended(f: np.ndarray, weights=weights, stored=stored, started=started) -> np.ndarray:
            batch, present = reference.centers(f, weights)
            return np.array(
                [
                    (0.8 * stored[c] + 0.2 * batch[c] if started[c] else batch[c]) if present[c] else stored[c]
                    for c in range(4)
                ]
            )

        present = reference.centers(base, weights)[1]
        has_center = [p or s for p, s in zip(present, started, strict=True)]
        held = blended(base)

        def expected(f: np.ndarray, blended=blended, held=held, has_center=has_center, weights=weights) -> list[float]:
            return [
                reference.car_intra(f, weights, held),
                reference.car_c2c(blended(f), held, has_center),
                reference.car_c2s(f, weights, held, has_center),
            ]

        losses = car(features, targets)
        np.testing.assert_allclose([losses[key].item() for key in KEYS], expected(base), rtol=1e-9)
        for index, key in enumerate(KEYS):
            (gradient,) = torch.autograd.grad(losses[key], features, retain_graph=True)
            numeric = reference.numeric_gradient(lambda f, e=expected, i=index: e(f)[i], base)
            np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-5, atol=1e-8, err_msg=key)
        stored, started = held, has_center
        np.testing.assert_allclose(numpy(car.centers), stored, rtol=1e-9, atol=1e-12)
        assert car.initialized.tolist() == started
    assert not started[-1]  # the class that never came


def test_running_centers__eval_uses_them_and_stores_nothing(device: torch.device) -> None:
    car = CAR(4, 3, running_centers=True).double().to(device)
    car(*draw_batch((4, 3, 5), "hard", device, seed=0)[:2])
    twin = copy.deepcopy(car)
    car.eval()
    batch = draw_batch((4, 3, 5), "hard", device, seed=1)[:2]
    in_eval, in_training = car(*batch), twin(*batch)
    assert all(torch.equal(in_eval[key], in_training[key]) for key in KEYS)
    assert not torch.equal(car.centers, twin.centers)


def test_without_running_centers_there_is_no_state() -> None:
    assert not CAR(4, 3).state_dict()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(["hard", "absent", "soft", "mixup"]), st.booleans())
def test_order_of_samples_and_classes_does_not_matter(seed: int, kind: str, running: bool) -> None:
    torch.manual_seed(seed)
    car = CAR(5, 4, running_centers=running).double()
    permuted_car = copy.deepcopy(car)
    samples, classes = torch.randperm(7), torch.randperm(5)
    for step in range(2):
        features, targets, _ = draw_batch((5, 4, 7), kind, torch.device("cpu"), seed=seed + step)
        soft = targets.dim() == 2
        permuted_targets = targets[samples][:, classes] if soft else torch.argsort(classes)[targets[samples]]
        plain, permuted = car(features, targets), permuted_car(features[samples], permuted_targets)
        for key in KEYS:
            torch.testing.assert_close(plain[key], permuted[key], rtol=1e-9, atol=1e-12)
    if running:
        torch.testing.assert_close(permuted_car.centers, car.centers[classes], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        *[
            ({name: value}, "finite number of at least 0")
            for name in ("intra_weight", "c2c_weight", "c2s_weight", "c2c_margin", "c2s_margin")
            for value in (math.nan, math.inf, -1.0)
        ],
        *[({"decay": value}, "at least 0 and below 1") for value in (1, -0.1, math.nan)],
    ],
)
def test_wrong_constructor_argument(arguments: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        CAR(5, 3, **arguments)


def test_a_nan_does_not_stay_in_the_running_centers(device: torch.device) -> None:
    module = CAR(3, 2, running_centers=True).to(device)
    labels = torch.tensor([0, 1, 1], device=device)
    bad = torch.randn(3, 2, device=device)
    bad[0, 1] = math.inf
    assert module(bad, labels)["loss_intra"].isnan()
    assert not module.initialized.any()  # the first centre is not the zero that it was made with
    module(torch.randn(3, 2, device=device), labels)
    before = module.centers.clone()
    module(bad, labels)
    assert torch.equal(module.centers, before)
    losses = module(torch.randn(3, 2, device=device), labels)
    assert all(loss.isfinite() for loss in losses.values())
    assert not torch.equal(module.centers, before)
