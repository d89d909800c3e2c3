"""What SAR's losses reach: features, classifier, embedding, and what must stay untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from .batches import draw_batch
from .sar_cases import make, nearest_anchor_classifier


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
