"""SAR against the loops of ``reference.py``: values, gradients and state over steps, in any order, for every kind of target."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sar_cls import SAR

from . import reference
from .batches import draw_batch, numpy
from .sar_cases import SHAPES, between, blocks_of, jitter, make, nearest_anchor_classifier, probs_of, table_of_probs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gate", ["all", "per_class"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("opening", ["closed", "partly", "open"])
def test_anchor_loss_and_state_over_steps(
    shape: tuple[int, int, int], gate: str, soft: bool, opening: str, device: torch.device
) -> None:
    num_classes, feat_dim, _ = shape
    sar = make(shape, device, gate=gate, momentum=0.7, anchor_weight=0.3)
    state = reference.SemanticAnchors(num_classes, feat_dim, momentum=0.7)
    for step in range(4):
        classifier = nearest_anchor_classifier(sar, 0.5)
        probs, is_right = probs_of(sar, classifier)
        # Nothing is accepted; all but the least certain anchor; all. The second step of all runs is closed.
        rank = {"closed": num_classes, "partly": 1, "open": 0}[opening]
        sar.delta = 0.999999999 if rank == num_classes or step == 1 else (between(probs, rank) if rank else 1e-9)
        accepted = [bool(r and p > sar.delta) for r, p in zip(is_right, probs, strict=True)]
        embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
        used = state.update(embedded, accepted, gate)

        features, targets, weights = draw_batch(shape, soft, device)
        features.requires_grad_()
        loss = sar(features, targets, classifier)["loss_anchor"]
        (gradient,) = torch.autograd.grad(loss, features)

        anchors = state.values.copy()

        def expected(f: np.ndarray, anchors=anchors, weights=weights, used=used) -> float:
            return 0.3 * reference.anchor_loss(f, weights, anchors, used)

        np.testing.assert_allclose(loss.item(), expected(numpy(features)), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            numpy(gradient), reference.numeric_gradient(expected, numpy(features)), rtol=1e-6, atol=1e-8
        )
        np.testing.assert_allclose(numpy(sar.semantic_anchors), state.values, rtol=1e-9, atol=1e-12)
        assert sar.initialized.tolist() == state.started
        if not any(used):
            assert loss.item() == 0
            assert not gradient.any()
        jitter(sar.embedding, 0.02)
    if opening == "open":
        assert all(state.started)
    if opening == "closed":
        assert not any(state.started)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grad_through_weights", [True, False])
@pytest.mark.parametrize("suppressed", ["none", "some", "tau is 1"])
def test_aux_loss_and_its_gradients(
    shape: tuple[int, int, int], grad_through_weights: bool, suppressed: str, device: torch.device
) -> None:
    num_classes = shape[0]
    sar = make(shape, device, grad_through_weights=grad_through_weights, aux_weight=0.7)
    classifier = nearest_anchor_classifier(sar, 0.3)
    jitter(classifier, 0.1)
    probs, _ = probs_of(sar, classifier)
    # "some" leaves the most certain anchors out, at least one.
    sar.tau = {"none": 0.999999, "some": between(probs, num_classes // 2), "tau is 1": 1.0}[suppressed]
    assert (probs > sar.tau).any() == (suppressed == "some")
    base_weights = reference.aux_weights(probs, sar.tau)

    parameters: dict[str, Tensor] = {"weight": classifier.weight, "bias": classifier.bias}
    parameters |= {f"{i}.{key}": layer for i, key, layer in _embedding_parameters(sar)}
    features, targets, _ = draw_batch(shape, False, device)
    loss = sar(features, targets, classifier)["loss_aux"]
    gradients = torch.autograd.grad(loss, list(parameters.values()))

    def expected(name: str, value: np.ndarray) -> float:
        blocks = blocks_of(sar)
        own = {"weight": numpy(classifier.weight), "bias": numpy(classifier.bias)}
        if name in own:
            own[name] = value
        else:
            index, key = name.split(".")
            blocks[int(index)][key] = value
        p, _ = reference.right_probs(reference.embed(numpy(sar.class_anchors), blocks), own["weight"], own["bias"])
        w = reference.aux_weights(p, sar.tau) if grad_through_weights else base_weights
        return 0.7 * reference.aux_loss(p, w)

    assert loss.item() == pytest.approx(expected("bias", numpy(classifier.bias)), rel=1e-7)
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        numeric = reference.numeric_gradient(lambda value, name=name: expected(name, value), numpy(parameter))
        np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-4, atol=1e-7, err_msg=name)
    assert any(g.abs().max() > 1e-3 for g in gradients)


def _embedding_parameters(sar: SAR) -> list[tuple[int, str, Tensor]]:
    found = []
    for block, start in enumerate((0, 3)):
        linear, norm = sar.embedding[start], sar.embedding[start + 1]
        found += [(block, "weight", linear.weight), (block, "bias", linear.bias)]
        found += [(block, "gamma", norm.weight), (block, "beta", norm.bias)]
    return found


def test_the_two_readings_of_the_weights_differ_in_gradient_only(device: torch.device) -> None:
    shape = (5, 4, 3)
    losses, gradients = [], []
    for through in (True, False):
        sar = make(shape, device, grad_through_weights=through)
        classifier = nearest_anchor_classifier(sar, 0.3)
        loss = sar(*draw_batch(shape, False, device)[:2], classifier)["loss_aux"]
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, classifier.weight)[0])
    assert losses[0] == losses[1]
    assert not torch.allclose(gradients[0], gradients[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_without_reweighting_the_auxiliary_loss_is_a_plain_mean(
    shape: tuple[int, int, int], device: torch.device
) -> None:
    sar = make(shape, device, reweight=False, aux_weight=0.7)
    classifier = nearest_anchor_classifier(sar, 0.3)
    jitter(classifier, 0.1)
    features, targets, _ = draw_batch(shape, False, device)
    loss = sar(features, targets, classifier)["loss_aux"]
    (gradient,) = torch.autograd.grad(loss, [classifier.weight])

    def expected(weight: np.ndarray) -> float:
        embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
        probs, _ = reference.right_probs(embedded, weight, numpy(classifier.bias))
        return 0.7 * sum(-np.log(p) for p in probs) / len(probs)

    assert loss.item() == pytest.approx(expected(numpy(classifier.weight)), rel=1e-7)
    numeric = reference.numeric_gradient(expected, numpy(classifier.weight))
    np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_one_hot_targets_equal_class_indices(gate: str, device: torch.device) -> None:
    torch.manual_seed(0)
    hard = make((4, 3, 6), device, gate=gate)
    soft = copy.deepcopy(hard)
    classifier = nearest_anchor_classifier(hard, 3.0)
    features, labels, weights = draw_batch((4, 3, 6), False, device)
    from_hard = hard(features, labels, classifier)
    from_soft = soft(features, torch.from_numpy(weights).to(device), classifier)
    for key in from_hard:
        assert torch.equal(from_hard[key], from_soft[key])


def test_mixup_gradient_is_the_weighted_sum_of_two_hard_ones(device: torch.device) -> None:
    sar = make((4, 3, 6), device)
    table = table_of_probs([0.9] * 4, device)
    features, first, weights_a = draw_batch((4, 3, 6), False, device)
    _, second, weights_b = draw_batch((4, 3, 6), False, device)
    features.requires_grad_()
    mixed = torch.from_numpy(0.3 * weights_a + 0.7 * weights_b).to(device)
    gradients = [
        torch.autograd.grad(copy.deepcopy(sar)(features, targets, table)["loss_anchor"], features)[0]
        for targets in (mixed, first, second)
    ]
    torch.testing.assert_close(gradients[0], 0.3 * gradients[1] + 0.7 * gradients[2])


def test_eval_uses_the_stored_anchors(device: torch.device) -> None:
    sar = make((3, 4, 2), device, momentum=0.5)
    table = table_of_probs([0.9, 0.9, 0.9], device)
    features, labels, weights = draw_batch((3, 4, 2), False, device)
    sar.eval()
    assert sar(features, labels, table)["loss_anchor"].item() == 0  # not started
    sar.train()
    sar(features, labels, table)
    jitter(sar.embedding, 0.5)
    sar.eval()
    loss = sar(features, labels, table)["loss_anchor"].item()
    expected = reference.anchor_loss(numpy(features), weights, numpy(sar.semantic_anchors), [True] * 3)
    assert loss == pytest.approx(0.1 * expected)
    sar.delta = 0.95
    assert sar(features, labels, table)["loss_anchor"].item() == 0  # closed


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(["all", "per_class"]), st.booleans(), st.booleans())
def test_order_of_samples_and_classes_does_not_matter(seed: int, gate: str, soft: bool, is_open: bool) -> None:
    torch.manual_seed(seed)
    cpu = torch.device("cpu")
    shape = (5, 4, 7)
    sar = SAR(5, 4, gate=gate, momentum=0.6).double()
    classifier = nearest_anchor_classifier(sar, 1.0)
    sar.delta = between(probs_of(sar, classifier)[0], 2) if not is_open else 1e-9
    features, targets, _ = draw_batch(shape, soft, cpu)
    # Start from different anchors than the step makes, so that an average mixed up between classes would show.
    sar.semantic_anchors.copy_(torch.randn(5, 4, dtype=torch.float64))
    sar.initialized.copy_(torch.rand(5) < 0.5)

    samples, classes = torch.randperm(7), torch.randperm(5)
    permuted_sar, permuted_classifier = copy.deepcopy(sar), copy.deepcopy(classifier)
    with torch.no_grad():
        for name in ("class_anchors", "semantic_anchors", "initialized"):
            getattr(permuted_sar, name).copy_(getattr(sar, name)[classes].clone())
        permuted_classifier.weight.copy_(classifier.weight[classes])
        permuted_classifier.bias.copy_(classifier.bias[classes])
    permuted_targets = targets[samples][:, classes] if soft else torch.argsort(classes)[targets[samples]]

    plain = sar(features, targets, classifier)
    permuted = permuted_sar(features[samples], permuted_targets, permuted_classifier)
    for key in plain:
        torch.testing.assert_close(plain[key], permuted[key], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(permuted_sar.semantic_anchors, sar.semantic_anchors[classes], rtol=1e-9, atol=1e-12)
    assert torch.equal(permuted_sar.initialized, sar.initialized[classes])
