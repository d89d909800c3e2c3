"""How SAR is built: the paper's defaults, both embeddings, drawn anchors, and wrong arguments."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from sar_cls import SAR

from . import reference
from .batches import draw_batch, numpy
from .sar_cases import blocks_of, embed, jitter


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
