"""A classifier called on vectors: as it is, as a 1x1 convolution, in another precision, as constants."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls import REGULARIZERS, SAR
from sar_cls.regularizers.classifier_call import in_precision, on_vectors, without_gradient

C, D = 3, 4


def linear_of(conv: nn.Conv2d) -> nn.Linear:
    linear = nn.Linear(D, C, bias=conv.bias is not None).to(conv.weight)
    linear.load_state_dict(
        {name: value.flatten(1) if value.ndim > 1 else value for name, value in conv.state_dict().items()}
    )
    return linear


@pytest.mark.parametrize("shape", [(5,), (), (2, 3)], ids=str)
@pytest.mark.parametrize(
    "arguments", [{}, {"bias": False}, {"padding": "same"}, {"padding": "valid"}, {"dilation": 2}], ids=str
)
def test_a_convolution_is_its_linear_layer(arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    conv = nn.Conv2d(D, C, 1, **arguments).double()
    features = torch.randn(*shape, D, dtype=torch.float64, requires_grad=True)
    linear = linear_of(conv)
    for call in (on_vectors(conv), on_vectors(on_vectors(conv)), in_precision(on_vectors(conv), torch.float64)):
        logits = call(features)
        torch.testing.assert_close(logits, linear(features))
        ours = torch.autograd.grad(logits.square().sum(), [features, conv.weight])
        theirs = torch.autograd.grad(linear(features).square().sum(), [features, linear.weight])
        torch.testing.assert_close(ours[0], theirs[0])
        torch.testing.assert_close(ours[1].flatten(1), theirs[1])
    constant = without_gradient(on_vectors(conv))
    assert constant is not None
    constant(features).sum().backward()
    assert features.grad is not None
    assert conv.weight.grad is None


def test_a_convolution_in_half_precision_is_computed_in_float32() -> None:
    conv = nn.Conv2d(D, C, 1).bfloat16()
    features = torch.randn(5, D)
    logits = in_precision(on_vectors(conv), torch.float32)(features)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, linear_of(copy.deepcopy(conv).float())(features))
    logits.sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.dtype == torch.bfloat16


def test_what_a_convolution_of_ones_own_does_is_done() -> None:
    """A subclass, hooks and parametrizations are kept: the module is called, not its weight."""

    class Normed(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.normalize(x, dim=1))

    conv, seen = Normed(D, C, 1), []
    conv.register_forward_hook(lambda module, arguments, output: seen.append(output.shape))
    features = torch.randn(5, D)
    torch.testing.assert_close(on_vectors(conv)(features), linear_of(conv)(F.normalize(features, dim=1)))
    assert seen == [(5, C, 1, 1)]


def test_others_are_left_as_they_are() -> None:
    for classifier in (nn.Linear(D, C), nn.Sequential(nn.Linear(D, C)), torch.relu):
        assert on_vectors(classifier) is classifier
        assert in_precision(classifier, torch.float32) is classifier


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (1, 3)},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 1, "padding": 1},
        {"kernel_size": 1, "groups": 2},
    ],
    ids=str,
)
def test_other_convolutions_are_refused(name: str, arguments: dict[str, Any]) -> None:
    conv = nn.Conv2d(4, 4, **arguments)
    with pytest.raises(
        ValueError, match="no function of one feature vector: give the head a 1x1 convolution"
    ) as caught:
        REGULARIZERS[name](4, 4)(torch.randn(2, 4, 2, 2), torch.zeros(2, 2, 2).long(), conv)
    assert "\n" not in str(caught.value)
    assert "x".join(map(str, conv.kernel_size)) in str(caught.value)


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
@pytest.mark.parametrize(
    "classifier",
    [nn.Linear(6, C), nn.Conv2d(6, C, 1), on_vectors(nn.Conv2d(6, C, 1))],
    ids=["linear", "convolution", "convolution on vectors"],
)
def test_a_layer_for_other_features_is_refused(name: str, classifier: Any) -> None:
    with pytest.raises(ValueError, match="takes features of 6 values and feat_dim is 4: pass the layer") as caught:
        REGULARIZERS[name](C, D)(torch.randn(2, D), torch.zeros(2).long(), classifier)
    assert "\n" not in str(caught.value)


def test_a_lazy_layer_finds_its_width() -> None:
    classifier = nn.LazyLinear(C)
    SAR(C, D)(torch.randn(2, D), torch.zeros(2).long(), classifier)
    assert classifier.in_features == D


def test_a_convolution_of_other_sizes() -> None:
    with pytest.raises(ValueError, match=r"pass one that maps \[\*, 4\] to \[\*, 3\]"):
        SAR(3, 4)(torch.randn(2, 4, 2, 2), torch.zeros(2, 2, 2).long(), nn.Conv2d(4, 5, 1))


def test_the_auxiliary_gradient_can_be_kept_out_of_a_convolution() -> None:
    conv, sar = nn.Conv2d(D, C, 1), SAR(C, D, aux_to_classifier=False)
    sar(torch.randn(2, D, 2, 2), torch.zeros(2, 2, 2).long(), conv)["loss_aux"].backward()
    assert conv.weight.grad is None
    assert sar.embedding[0].weight.grad is not None
