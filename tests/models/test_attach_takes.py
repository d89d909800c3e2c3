"""What `attach` takes as it comes: weights of samples, a classifier called by keyword, float64, dropout of other kinds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import sar_cls
from sar_cls.models.attached_model import attach

from .attached_nets import Recorder

INPUTS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


class TestSampleWeights:
    def test_they_reach_the_regularizer_and_not_the_model(self) -> None:
        weights = torch.tensor([1.0, 0.0, 1.0, 2.0, 0.0, 0.5])
        net = Net()
        _, losses = attach(net, "CenterLoss", weight=0.5)(INPUTS, TARGETS, sample_weights=weights)
        by_hand = sar_cls.CenterLoss(num_classes=5, feat_dim=16, weight=0.5)
        expected = by_hand(net.body(INPUTS), TARGETS, net.fc, sample_weights=weights)
        torch.testing.assert_close(losses, expected)
        _, without = attach(copy.deepcopy(Net()), "CenterLoss", weight=0.5)(INPUTS, TARGETS)
        assert losses["loss_center"] != without["loss_center"]

    def test_a_model_that_takes_them_gets_them(self) -> None:
        class Weighing(Net):
            def forward(self, x: Tensor, sample_weights: Tensor | None = None) -> Tensor:
                assert sample_weights is not None
                return super().forward(x)

        attach(Weighing(), "SAR")(INPUTS, TARGETS, sample_weights=torch.ones(6))

    def test_a_regularizer_without_them_is_not_asked(self) -> None:
        attach(Net(), Recorder())(INPUTS, TARGETS, sample_weights=None)


def test_a_classifier_may_be_called_by_keyword() -> None:
    class Keyword(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(input=self.body(x))

    net = Keyword()
    attached = attach(net, "SAR")
    logits, _ = attached(INPUTS, TARGETS)
    assert torch.equal(logits, net(INPUTS))


def test_a_float64_model_gets_a_float64_regularizer() -> None:
    _, losses = attach(Net().double(), "SAR")(INPUTS.double(), TARGETS)
    assert losses["loss_anchor"].dtype == torch.float64
    assert attach(Net().to(torch.bfloat16), "SAR").regularizer.class_anchors.dtype == torch.float32


def test_alpha_dropout_in_front_of_a_classifier_of_maps_is_skipped() -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.drop, self.classifier = nn.Conv2d(3, 6, 1), nn.FeatureAlphaDropout(0.5), nn.Conv2d(6, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.drop(self.body(x)))

    class Kept(nn.Module):
        def forward(self, features: Tensor, targets: Tensor, classifier: Any) -> dict[str, Tensor]:
            self.features = features
            return {}

    net, kept, images = Dropped(), Kept(), torch.randn(2, 3, 4, 4)
    attach(net, kept)(images, torch.zeros(2, 4, 4, dtype=torch.int64))
    assert torch.equal(kept.features, net.body(images))
