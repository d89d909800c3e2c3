"""A layer between the backbone's features and the classifier: what enters it, what it leaves alone, what it makes possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.runner import set_random_seed
from mmpretrain.registry import MODELS
from torch import Tensor, nn

import sar_cls.mm  # noqa: F401
from sar_cls.mm.head import FEATURE_LAYERS
from sar_cls.regularizers import Regularizer

C, D = 5, 64
each_layer = pytest.mark.parametrize("layer", sorted(FEATURE_LAYERS))


class Listening(Regularizer):
    """Keeps the features that it was given."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        self.given = features.detach()
        return {"loss_nothing": 0 * features.sum()}


def build(layer: str | None, **head: Any) -> nn.Module:
    set_random_seed(7)
    arguments = {} if layer is None else {"feature_layer": layer}
    model = MODELS.build(
        dict(
            type="ImageClassifier",
            backbone=dict(type="CIFARResNet", depth=8),
            head=dict(
                type="RegularizedLinearClsHead", num_classes=C, in_channels=D, loss=dict(type="CrossEntropyLoss"),
                **arguments, **head,
            ),
        )
    )  # fmt: skip
    model.init_weights()
    return model


@each_layer
def test_it_stands_between_features_and_classifier(layer: str, device: torch.device) -> None:
    regularizer = Listening(C, D)
    model = build(layer, regularizer=regularizer).to(device).train()
    images, labels = torch.rand(6, 3, 8, 8, device=device), torch.arange(6, device=device) % C
    with torch.no_grad():
        (features,) = model.backbone(images)
    between = model.head.feature_layer(features)
    assert (features >= 0).all()  # they come from a ReLU
    assert (between < 0).any()
    torch.testing.assert_close(model.head((features,)), model.head.fc(between))
    entered: list[Tensor] = []
    model.head.fc.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    model.head.loss((features,), labels)
    torch.testing.assert_close(entered, [between])
    torch.testing.assert_close(regularizer.given, between)


@each_layer
def test_the_rest_of_the_model_has_the_same_initial_weights(layer: str) -> None:
    plain, other = build(None), build(layer)
    rest = {name: value for name, value in other.state_dict().items() if "feature_layer" not in name}
    assert rest.keys() == plain.state_dict().keys()
    assert all(torch.equal(rest[name], value) for name, value in plain.backbone.state_dict(prefix="backbone.").items())


def test_the_linear_one_keeps_the_weights_it_was_made_with() -> None:
    weight = build("linear").head.feature_layer.weight
    assert weight.std().item() == pytest.approx((3 * D) ** -0.5, rel=0.1)  # torch's own, not the head's 0.01


def test_the_linear_layer_with_a_batch_norm_whose_scale_stays() -> None:
    layer = build("linear_batch_norm").head.feature_layer.double().train()
    linear, norm = layer
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3, weight_decay=0.1)
    features = torch.rand(7, D, dtype=torch.float64)
    for _ in range(2):
        weight, bias, shift = (value.detach().numpy().copy() for value in (linear.weight, linear.bias, norm.bias))
        expected = np.zeros((7, D))
        for d in range(D):
            column = [sum(w * x for w, x in zip(weight[d], row, strict=True)) + bias[d] for row in features.tolist()]
            mean = sum(column) / 7
            variance = sum((value - mean) ** 2 for value in column) / 7
            expected[:, d] = [(value - mean) / (variance + 1e-5) ** 0.5 + shift[d] for value in column]
        found = layer(features)
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-7, atol=1e-9)
        optimizer.zero_grad()
        (found**3).sum().backward()
        optimizer.step()
    assert torch.equal(norm.weight, torch.ones(D, dtype=torch.float64))
    assert norm.bias.any()


def test_fixed_class_vectors_of_both_signs_are_reached() -> None:
    model = build("linear", classifier=dict(type="fixed", anchors="simplex", seed=0)).train()
    features = torch.eye(D)[:C]  # of five classes, none negative
    labels = torch.arange(C)
    parameters = list(model.head.feature_layer.parameters())
    assert len(parameters) == 2
    optimizer = torch.optim.SGD(parameters, lr=2.0, momentum=0.9)
    for _ in range(200):
        cosines = model.head((features,))
        loss = (1 - cosines[labels, labels]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert cosines[labels, labels].min() > 0.9
    assert model.head.fc.weight.clamp_min(0).norm(dim=1).max() < 0.9  # the best that features without a sign can have


def test_an_unknown_one() -> None:
    with pytest.raises(ValueError, match="unknown feature_layer 'relu': choose one of linear, batch_norm"):
        build("relu")
