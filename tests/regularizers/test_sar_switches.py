"""SAR's parts, each of them switched off alone (Tab. 7), their weights, and how fast the auxiliary loss comes in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sar_cls import SAR

from . import reference
from .batches import draw_batch, numpy
from .sar_cases import SHAPES, blocks_of, jitter, make, nearest_anchor_classifier, probs_of, table_of_probs


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
