"""SAR against the loops of ``reference.py``: values, gradients, gate, moving average, and what must stay untouched."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sar_cls import SAR

from . import reference

SHAPES = [(2, 3, 4), (5, 4, 3), (3, 2, 1), (6, 8, 16)]  # (C, D, N): C > N, N = 1, C > D, roomy


def numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def blocks_of(sar: SAR) -> list[dict[str, np.ndarray]]:
    """The parameters of the embedding as the reference wants them."""
    layers = list(sar.embedding)
    return [
        {
            "weight": numpy(layers[i].weight),
            "bias": numpy(layers[i].bias),
            "gamma": numpy(layers[i + 1].weight),
            "beta": numpy(layers[i + 1].bias),
        }
        for i in (0, 3)
    ]


def embed(sar: SAR) -> Tensor:
    """h(A) in training mode, without touching the module's state."""
    with torch.no_grad():
        return copy.deepcopy(sar).train().embedding(sar.class_anchors)


def nearest_anchor_classifier(sar: SAR, sharpness: float) -> nn.Linear:
    """A linear classifier whose likeliest class is that of the nearest embedded anchor: right for every anchor.

    A small tilt keeps the probabilities of two classes from being equal.
    """
    embedded = embed(sar)
    classifier = nn.Linear(sar.feat_dim, sar.num_classes).to(embedded)
    with torch.no_grad():
        classifier.weight.copy_(2 * sharpness * embedded)
        classifier.bias.copy_(
            -sharpness * embedded.square().sum(dim=1) + 0.02 * torch.arange(len(embedded)).to(embedded)
        )
    return classifier


def probs_of(sar: SAR, classifier: nn.Linear) -> tuple[np.ndarray, list[bool]]:
    embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
    return reference.right_probs(embedded, numpy(classifier.weight), numpy(classifier.bias))


def between(values: np.ndarray, rank: int) -> float:
    """A threshold with ``rank`` of the values below it."""
    ordered = np.sort(values)
    return float((ordered[rank - 1] + ordered[rank]) / 2)


def jitter(module: nn.Module, scale: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


def make(shape: tuple[int, int, int], device: torch.device, **arguments: object) -> SAR:
    torch.manual_seed(sum(shape))
    sar = SAR(shape[0], shape[1], **arguments).double().to(device)
    jitter(sar, 0.3)
    with torch.no_grad():
        sar.embedding[4].bias.add_(2)  # few channels cut off by the last ReLU, so that no two anchors coincide
    return sar


def draw_batch(shape: tuple[int, int, int], soft: bool, device: torch.device) -> tuple[Tensor, Tensor, np.ndarray]:
    """Features, targets and the label weights of the reference."""
    num_classes, feat_dim, num_samples = shape
    features = torch.randn(num_samples, feat_dim, dtype=torch.float64)
    labels = torch.randint(num_classes, (num_samples,))
    if not soft:
        return features.to(device), labels.to(device), reference.one_hot(labels.numpy(), num_classes)
    targets = torch.rand(num_samples, num_classes, dtype=torch.float64) ** 3 + 0.01
    targets = targets / targets.sum(dim=1, keepdim=True)
    return features.to(device), targets.to(device), targets.numpy()


class Table(nn.Module):
    """A "classifier" that answers with fixed logits, so that a test decides every probability."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, embedded: Tensor) -> Tensor:
        return self.logits + 0 * embedded.sum()


def table_of_probs(probs: list[float], device: torch.device) -> Table:
    """Anchor i gets its class with probability probs[i]; the others share the rest evenly."""
    num_classes = len(probs)
    table = torch.empty(num_classes, num_classes, dtype=torch.float64)
    for i, p in enumerate(probs):
        table[i] = math.log((1 - p) / (num_classes - 1))
        table[i, i] = math.log(p)
    return Table(table.to(device))


# Values and gradients


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


# Switches: the parts of Tab. 7 and how fast they come in


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_warm_up_of_the_auxiliary_loss(shape: tuple[int, int, int], warmup: int, device: torch.device) -> None:
    """The weight of each step, also in the gradients; the pull to the anchors has none."""
    sar = make(shape, device, aux_weight=0.7, aux_warmup=warmup, tau=1.0)
    classifier = nearest_anchor_classifier(sar, 0.3)
    jitter(classifier, 0.1)
    sar.delta = 1e-9 if all(probs_of(sar, classifier)[1]) else 1.0
    features, targets, _ = draw_batch(shape, False, device)

    def expected(bias: np.ndarray, step: int) -> float:
        embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
        probs, _ = reference.right_probs(embedded, numpy(classifier.weight), bias)
        return 0.7 * reference.warm_up(step, warmup) * reference.aux_loss(probs, reference.aux_weights(probs, 1.0))

    pulls = []
    for step in range(5):
        losses = sar(features, targets, classifier)
        (gradient,) = torch.autograd.grad(losses["loss_aux"], [classifier.bias])
        assert losses["loss_aux"].item() == pytest.approx(expected(numpy(classifier.bias), step), rel=1e-7)
        numeric = reference.numeric_gradient(lambda bias, step=step: expected(bias, step), numpy(classifier.bias))
        np.testing.assert_allclose(numpy(gradient), numeric, rtol=1e-4, atol=1e-7)
        assert (losses["loss_aux"].item() == 0) == (step == 0 < warmup)
        pulls.append(losses["loss_anchor"].item())
    assert sar.aux_warmup.count.item() == (5 if warmup else 0)
    np.testing.assert_allclose(pulls, pulls[0], rtol=1e-9)


def test_evaluation_does_not_warm_up(device: torch.device) -> None:
    sar = make((3, 4, 2), device, aux_warmup=4)
    batch, table = draw_batch((3, 4, 2), False, device)[:2], table_of_probs([0.5, 0.6, 0.7], device)
    for _ in range(2):
        sar(*batch, table)
    sar.eval()
    shown = [sar(*batch, table)["loss_aux"].item() for _ in range(2)]
    assert shown[0] == shown[1] == sar.train()(*batch, table)["loss_aux"].item()
    assert sar.aux_warmup.count.item() == 3


@pytest.mark.parametrize("warmup", [0, 4])
def test_a_checkpoint_without_the_count_of_the_warm_up_loads(warmup: int) -> None:
    """Those of runs made before there was a warm-up."""
    older = {key: value for key, value in SAR(3, 4).state_dict().items() if not key.startswith("aux_warmup")}
    assert len(older) < len(SAR(3, 4).state_dict())
    head = nn.ModuleDict({"regularizer": SAR(3, 4, aux_warmup=warmup)})
    head["regularizer"].aux_warmup.count.fill_(2)
    head.load_state_dict({f"regularizer.{key}": value for key, value in older.items()})
    assert torch.equal(head["regularizer"].class_anchors, older["class_anchors"])
    assert head["regularizer"].aux_warmup.count.item() == 2
    with pytest.raises(RuntimeError, match="class_anchors"):
        head.load_state_dict({})


@pytest.mark.parametrize("rate", [1.0, 0.3, 0.1, 0.03])
def test_the_weight_is_the_learning_rate_of_the_auxiliary_loss(rate: float, device: torch.device) -> None:
    """Under SGD: ten steps with the loss weighted by ``rate`` end where ten at ``rate`` times the learning rate do."""
    ends = []
    for weight, learning_rate in ((rate, 0.1), (1.0, 0.1 * rate)):
        sar = make((5, 4, 3), device, aux_weight=weight, tau=1.0)
        classifier = nearest_anchor_classifier(sar, 0.3)
        optimizer = torch.optim.SGD([*sar.parameters(), *classifier.parameters()], lr=learning_rate, momentum=0.9)
        batch = draw_batch((5, 4, 3), False, device)[:2]
        for _ in range(10):
            optimizer.zero_grad()
            sar(*batch, classifier)["loss_aux"].backward()
            optimizer.step()
        ends.append([numpy(p) for p in (*sar.parameters(), *classifier.parameters())])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("opening", ["closed", "open"])
def test_embedding_and_auxiliary_loss_alone(opening: str, device: torch.device) -> None:
    """Tab. 7, the row below the fixed anchors: no moving average and no weights, so the pull is to h(A) of this step."""
    shape = (5, 4, 3)
    sar = make(shape, device, momentum=0.0, reweight=False, delta=1e-9 if opening == "open" else 1.0)
    for _ in range(3):
        jitter(sar.embedding, 0.05)
        classifier = nearest_anchor_classifier(sar, 0.5)
        embedded = reference.embed(numpy(sar.class_anchors), blocks_of(sar))
        probs, _ = reference.right_probs(embedded, numpy(classifier.weight), numpy(classifier.bias))
        features, targets, weights = draw_batch(shape, True, device)
        losses = sar(features, targets, classifier)
        assert losses["loss_aux"].item() == pytest.approx(-np.log(probs).mean(), rel=1e-7)
        pull = reference.anchor_loss(numpy(features), weights, embedded, [opening == "open"] * 5)
        assert losses["loss_anchor"].item() == pytest.approx(0.1 * pull, rel=1e-9)


@pytest.mark.parametrize("name", ["aux_weight", "anchor_weight"])
def test_a_weight_of_zero_switches_one_loss_off_and_nothing_else(name: str, device: torch.device) -> None:
    results = []
    for arguments in ({}, {name: 0.0}):
        sar = make((4, 3, 6), device, delta=0.01, **arguments)
        classifier = nearest_anchor_classifier(sar, 1.0)
        features, labels, _ = draw_batch((4, 3, 6), False, device)
        features.requires_grad_()
        losses = sar(features, labels, classifier)
        inputs = [features, *classifier.parameters(), *sar.parameters()]
        gradients = torch.autograd.grad(sum(losses.values()), inputs)
        results.append((losses, gradients, sar.semantic_anchors))
    (losses, gradients, anchors), (own_losses, own_gradients, own_anchors) = results
    off, on = ("loss_aux", "loss_anchor") if name == "aux_weight" else ("loss_anchor", "loss_aux")
    assert losses[off] > 0
    assert own_losses[off].item() == 0
    assert torch.equal(losses[on], own_losses[on])
    assert torch.equal(anchors, own_anchors)
    of_features, others = (own_gradients[0], gradients[0]), zip(own_gradients[1:], gradients[1:], strict=True)
    assert torch.equal(*of_features) if name == "aux_weight" else not of_features[0].any()
    assert all(torch.equal(a, b) if name == "anchor_weight" else not a.any() for a, b in others)


# Thresholds


def test_all_above_tau__aux_is_exactly_zero(device: torch.device) -> None:
    sar = make((3, 4, 2), device, tau=0.9)
    table = table_of_probs([0.91, 0.95, 0.99], device)
    loss = sar(*draw_batch((3, 4, 2), False, device)[:2], table)["loss_aux"]
    loss.backward()
    assert loss.item() == 0
    assert table.logits.grad is not None
    assert torch.equal(table.logits.grad, torch.zeros_like(table.logits))
    assert all(not p.grad.any() for p in sar.parameters() if p.grad is not None)


@pytest.mark.parametrize(("last", "is_zero"), [(0.9 + 1e-9, True), (0.9 - 1e-9, False)])
def test_just_above_and_just_below_tau(last: float, is_zero: bool, device: torch.device) -> None:
    sar = make((3, 4, 2), device, tau=0.9)
    loss = sar(*draw_batch((3, 4, 2), False, device)[:2], table_of_probs([0.95, 0.99, last], device))["loss_aux"]
    # Below: the one anchor left has the whole weight.
    assert loss.item() == (0 if is_zero else pytest.approx(-math.log(last), rel=1e-7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("tau", [0.9, 1.0])
@pytest.mark.parametrize("margin", [-1e4, -50.0, 0.0, 17.0, 19.0, 20.7, 20.8, 21.4, 22.5, 40.0, 1e4])
def test_extreme_probabilities_stay_finite(margin: float, tau: float, through: bool, dtype: torch.dtype) -> None:
    """From p = 0 (below the smallest float) to p = 1, through the pole that the published 1e-9 has for tau = 1."""
    sar = SAR(3, 4, tau=tau, grad_through_weights=through).to(dtype)
    table = Table((margin * torch.eye(3)).to(dtype))
    loss = sar(torch.randn(2, 4, dtype=dtype), torch.tensor([0, 2]), table)["loss_aux"]
    loss.backward()
    assert table.logits.grad is not None
    assert torch.isfinite(table.logits.grad).all()
    assert table.logits.grad.abs().max() <= 3
    # All anchors are alike, so the weighted mean is the cross-entropy of each, unless it is suppressed.
    each = math.log1p(2 * math.exp(-margin)) if margin > -100 else math.log(2) - margin
    suppressed = tau < 1 and margin > 10
    if not suppressed and each > 1e-6:
        assert loss.item() == pytest.approx(each, rel=1e-2 if each < 1e-4 else 1e-5, abs=math.log(3) * 1e-6)
    else:
        assert 0 <= loss.item() <= (0 if suppressed else 3 * each + 1e-7)


@pytest.mark.parametrize(("gap", "is_number"), [(100.0, True), (110.0, False)])
def test_finite_where_the_published_formula_is_not_a_number(gap: float, is_number: bool) -> None:
    """The logarithm of a softmax in float32, as published, against that of a log-softmax in float64."""
    logits = torch.zeros(3, 3).fill_diagonal_(2.0)
    logits[0, 1] = gap + 2.0
    log_of_softmax = logits.softmax(dim=1).diagonal().log()
    published = log_of_softmax / (log_of_softmax.sum() + 1e-9)
    assert bool(published.isfinite().all()) is is_number
    exact = logits.double().log_softmax(dim=1).diagonal().numpy()
    expected = -float((exact / exact.sum() * exact).sum())
    loss = SAR(3, 4, tau=1.0)(torch.randn(2, 4), torch.tensor([0, 2]), Table(logits))["loss_aux"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("total", [1e-9, 1.0000001e-9, 5e-10, 2e-9, 0.0])
def test_the_pole_of_the_weights_is_out_of_reach(total: float, dtype: torch.dtype) -> None:
    """With tau = 1 the sum of log-probabilities may be -1e-9, where the published denominator is 0."""
    log_probs = torch.tensor([-total, 0.0, 0.0], dtype=dtype, requires_grad=True)
    loss = SAR(3, 4, tau=1.0)._aux_loss(log_probs, log_probs.detach().exp())
    loss.backward()
    assert 0 <= loss.item() <= 2 * total
    assert log_probs.grad is not None
    assert log_probs.grad.abs().max() <= 4


@pytest.mark.parametrize("gate", ["all", "per_class"])
@pytest.mark.parametrize("is_open", [False, True])
def test_gate_just_closed_and_just_open(gate: str, is_open: bool, device: torch.device) -> None:
    sar = make((3, 4, 2), device, delta=0.8, gate=gate)
    embedded = embed(sar)
    table = table_of_probs([0.95, 0.8 + (1e-9 if is_open else -1e-9), 0.99], device)
    features = torch.randn(2, 4, dtype=torch.float64, device=device, requires_grad=True)
    labels = torch.ones(2, dtype=torch.int64, device=device)
    loss = sar(features, labels, table)["loss_anchor"]
    loss.backward()
    assert features.grad is not None
    others = is_open or gate == "per_class"
    assert sar.initialized.tolist() == [others, is_open, others]
    expected = embedded * sar.initialized.unsqueeze(1)
    assert torch.equal(sar.semantic_anchors, expected)  # the first accepted h(A) is copied as it is
    if is_open:
        assert loss.item() == pytest.approx(0.1 * (features - embedded[1]).square().mean().item())
        assert features.grad.abs().min() > 0
    else:
        assert loss.item() == 0
        assert not features.grad.any()


def test_a_probability_above_delta_of_the_wrong_class_is_not_accepted(device: torch.device) -> None:
    sar = make((3, 4, 2), device, delta=0.2, gate="per_class")
    table = table_of_probs([0.9, 0.9, 0.9], device)
    with torch.no_grad():
        table.logits[1] = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    sar(*draw_batch((3, 4, 2), False, device)[:2], table)
    assert sar.initialized.tolist() == [True, False, True]


def test_closed_gate_lets_no_infinite_feature_through(device: torch.device) -> None:
    sar = make((3, 4, 2), device)
    features = torch.full((2, 4), torch.inf, dtype=torch.float64, device=device)
    loss = sar(features, torch.tensor([0, 1], device=device), table_of_probs([0.5, 0.9, 0.9], device))["loss_anchor"]
    assert loss.item() == 0


def test_momentum_zero_keeps_the_last_anchor(device: torch.device) -> None:
    sar = make((3, 4, 2), device, momentum=0.0)
    for _ in range(2):
        jitter(sar.embedding, 0.1)
        embedded = embed(sar)
        sar(*draw_batch((3, 4, 2), False, device)[:2], table_of_probs([0.9, 0.9, 0.9], device))
        assert torch.equal(sar.semantic_anchors, embedded)


# Targets


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


# What reaches what


@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_gradients_stay_on_their_side(gate: str, device: torch.device) -> None:
    sar = make((4, 3, 6), device, gate=gate)
    classifier = nearest_anchor_classifier(sar, 3.0)
    sar.delta = 1e-6  # open
    features, labels, _ = draw_batch((4, 3, 6), False, device)
    features.requires_grad_()
    losses = sar(features, labels, classifier)
    others = [*classifier.parameters(), *sar.parameters()]
    from_anchor = torch.autograd.grad(losses["loss_anchor"], [features, *others], allow_unused=True, retain_graph=True)
    assert from_anchor[0] is not None
    assert from_anchor[0].any()
    assert all(g is None for g in from_anchor[1:])
    from_aux = torch.autograd.grad(losses["loss_aux"], [features, *others], allow_unused=True)
    assert from_aux[0] is None
    assert all(g is not None for g in from_aux[1:])


@pytest.mark.parametrize("grad_through_weights", [True, False])
def test_the_auxiliary_gradient_can_be_kept_out_of_the_classifier(
    grad_through_weights: bool, device: torch.device
) -> None:
    """Losses, state and the embedding's gradient are those of SAR; the classifier gets nothing of either loss."""
    results = []
    for reaches in (True, False):
        arguments = {"aux_to_classifier": reaches, "grad_through_weights": grad_through_weights}
        sar = make((4, 3, 6), device, delta=0.1, tau=1.0, **arguments)
        classifier = nn.Sequential(nearest_anchor_classifier(sar, 1.0))
        losses = sar(*draw_batch((4, 3, 6), False, device)[:2], classifier)
        inner, outer = list(sar.embedding.parameters()), list(classifier.parameters())
        gradients = torch.autograd.grad(losses["loss_aux"], [*inner, *outer], allow_unused=True)
        assert all((g is not None) == reaches for g in gradients[len(inner) :])
        results.append((losses, gradients[: len(inner)], sar.semantic_anchors))
    (losses, gradients, anchors), (own_losses, own_gradients, own_anchors) = results
    assert {name: loss.item() for name, loss in losses.items()} == {n: loss.item() for n, loss in own_losses.items()}
    assert any(g.any() for g in gradients)
    assert losses["loss_anchor"] > 0
    for one, other in zip(gradients, own_gradients, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(anchors, own_anchors)


def test_keeping_the_gradient_out_needs_a_module(device: torch.device) -> None:
    sar = make((4, 3, 6), device, aux_to_classifier=False)
    classifier = nearest_anchor_classifier(sar, 3.0)
    with pytest.raises(ValueError, match="pass the classifier as a module"):
        sar(*draw_batch((4, 3, 6), False, device)[:2], lambda features: classifier(features))


def test_two_steps_before_one_backward(device: torch.device) -> None:
    """Gradient accumulation over one graph: the buffers written by the second step are not needed by the first."""
    sar = make((4, 3, 6), device, delta=0.01)
    classifier = nearest_anchor_classifier(sar, 3.0)
    features, labels, _ = draw_batch((4, 3, 6), False, device)
    features.requires_grad_()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for _ in range(2):
        total = total + sum(sar(features, labels, classifier).values())
    total.backward()
    assert torch.isfinite(features.grad).all()


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


# Properties


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


# Construction and diagnostics


def test_defaults_are_the_papers() -> None:
    sar = SAR(3, 4)
    values = (sar.aux_weight, sar.anchor_weight, sar.momentum, sar.tau, sar.delta)
    assert values == (1.0, 0.1, 0.999, 0.9, 0.8)
    assert (sar.gate, sar.anchors, sar.grad_through_weights) == ("all", "normal", True)


def test_embedding_is_two_linear_modules() -> None:
    kinds = [type(layer) for layer in SAR(3, 4).embedding]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2
    assert all(p.shape in {(4, 4), (4,)} for p in SAR(3, 4).parameters())


def test_embedding_for_segmentation_is_the_papers() -> None:
    """1.56 M parameters at the width of HRNet-W48's head (the paper's Tab. 20); classification's weights come first."""
    sar = SAR(19, 720, embedding="linear+conv", seed=0)
    assert sum(p.numel() for p in sar.parameters()) == 1_560_960
    assert [type(layer) for layer in sar.embedding] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 3
    torch.manual_seed(0)
    plain = SAR(4, 6)
    torch.manual_seed(0)
    whole = SAR(4, 6, embedding="linear+conv")
    for a, b in zip(plain.parameters(), whole.parameters(), strict=False):
        assert torch.equal(a, b)
    # Kaiming-normal by fan-out: variance 2 / D.
    assert sar.embedding[6].weight.var().item() == pytest.approx(2 / 720, rel=0.02)
    assert sar.embedding[6].weight.mean().abs().item() < 1e-3


def test_embedding_for_segmentation__loops_and_convolution() -> None:
    """The third block against the loops, and against a real 1x1 convolution with batch norm on maps of one pixel."""
    torch.manual_seed(1)
    sar = SAR(5, 4, embedding="linear+conv").double()
    jitter(sar, 0.3)
    third = {"weight": numpy(sar.embedding[6].weight), "bias": np.zeros(4)}
    third |= {"gamma": numpy(sar.embedding[7].weight), "beta": numpy(sar.embedding[7].bias)}
    expected = reference.embed(numpy(sar.class_anchors), [*blocks_of(sar), third])
    np.testing.assert_allclose(numpy(embed(sar)), expected, rtol=1e-9, atol=1e-12)

    conv, norm = nn.Conv2d(4, 4, 1, bias=False).double(), nn.BatchNorm2d(4).double()
    conv.load_state_dict({"weight": sar.embedding[6].weight.detach()[:, :, None, None]})
    norm.load_state_dict(sar.embedding[7].state_dict())
    with torch.no_grad():
        maps = copy.deepcopy(sar.embedding[:6])(sar.class_anchors)[:, :, None, None]
        torch.testing.assert_close(norm(conv(maps)).relu().flatten(1), embed(sar))

    classifier = nn.Linear(4, 5).double()
    losses = sar(*draw_batch((5, 4, 6), False, torch.device("cpu"))[:2], classifier)
    probs, _ = reference.right_probs(expected, numpy(classifier.weight), numpy(classifier.bias))
    assert losses["loss_aux"].item() == pytest.approx(reference.aux_loss(probs, reference.aux_weights(probs, 0.9)))
    assert all(g.any() for g in torch.autograd.grad(losses["loss_aux"], [sar.embedding[6].weight, classifier.weight]))


@pytest.mark.parametrize("anchors", ["normal", "orthogonal", "simplex"])
def test_seed_fixes_the_anchors(anchors: str) -> None:
    first, second = SAR(3, 4, anchors=anchors, seed=7), SAR(3, 4, anchors=anchors, seed=7)
    assert torch.equal(first.class_anchors, second.class_anchors)
    assert not torch.equal(first.class_anchors, SAR(3, 4, anchors=anchors, seed=8).class_anchors)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        *[
            ({name: value}, "above 0 and at most 1")
            for name in ("tau", "delta")
            for value in (0, 1.1, -1, math.nan, "x")
        ],
        *[({"momentum": value}, "at least 0 and below 1") for value in (1, 1.5, -0.1, math.nan, None)],
        *[
            ({name: value}, "finite number of at least 0")
            for name in ("aux_weight", "anchor_weight")
            for value in (math.nan, math.inf, -1.0)
        ],
        *[({"aux_warmup": value}, "whole number of at least 0") for value in (-1, 1.5, None, "x")],
        ({"gate": "any"}, "choose one of all, per_class"),
        ({"embedding": "conv"}, r"choose one of linear, linear\+conv"),
        ({"anchors": "gauss"}, "choose one of normal, orthogonal, simplex, tight_frame"),
        ({"anchors": "orthogonal"}, "nearest choice"),
    ],
)
def test_wrong_constructor_argument(arguments: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        SAR(5, 3, **arguments)


@pytest.mark.parametrize("classifier", [None, nn.Linear(4, 5), lambda x: x.sum()])
def test_wrong_classifier(classifier: object) -> None:
    with pytest.raises(ValueError, match="pass "):
        SAR(3, 4)(torch.randn(2, 4), torch.tensor([0, 1]), classifier)


@pytest.mark.parametrize("gate", ["all", "per_class"])
def test_diagnostics_are_means_over_the_steps(gate: str, device: torch.device) -> None:
    sar = SAR(4, 3, gate=gate, tau=0.9, delta=0.8).to(device)
    assert all(math.isnan(value) for value in sar.diagnostics().values())
    steps = [[0.95, 0.95, 0.85, 0.85], [0.95, 0.5, 0.5, 0.5], [0.5] * 4, [0.99] * 4]
    losses = []
    for probs in steps:
        table = table_of_probs(probs, device).float()
        out = sar(torch.randn(2, 3, device=device), torch.tensor([0, 1], device=device), table)
        losses.append((out["loss_aux"].item(), out["loss_anchor"].item()))
    figures = sar.diagnostics(reset=False)
    assert figures == sar.diagnostics()
    assert figures == {
        "share_above_tau": pytest.approx((0.5 + 0.25 + 0 + 1) / 4),
        "share_above_delta": pytest.approx((1 + 0.25 + 0 + 1) / 4),
        "share_gate_open": pytest.approx((2 if gate == "all" else 3) / 4),
        "mean_loss_aux": pytest.approx(np.mean(losses, axis=0)[0]),
        "mean_loss_anchor": pytest.approx(np.mean(losses, axis=0)[1]),
    }
    assert all(math.isnan(value) for value in sar.diagnostics().values())


def test_diagnostics_survive_a_long_epoch() -> None:
    """A million steps summed in float32: shares keep four digits."""
    sar = SAR(3, 4)
    step = torch.tensor([1.0, 1 / 3, 2 / 3, 1.0, 0.123, 1e-3])
    for _ in itertools.repeat(None, 10**5):
        sar._sums.add_(step)
    sar._sums.mul_(10)
    figures = sar.diagnostics()
    assert list(figures.values()) == pytest.approx([1 / 3, 2 / 3, 1.0, 0.123, 1e-3], rel=1e-3)


def test_diagnostics_are_not_saved() -> None:
    names = set(SAR(3, 4).state_dict())
    state = {"class_anchors", "semantic_anchors", "initialized", "aux_warmup.count"}
    assert state <= names
    assert all(name.startswith("embedding.") for name in names - state)
