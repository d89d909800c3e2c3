"""A hidden layer with a name or a place that is usual for a classifier is not taken for one without a word."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sar_cls import REGULARIZERS
from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach

from .attached_nets import Recorder


class HiddenFC(nn.Module):
    """``fc`` is a hidden layer."""

    def __init__(self, output: str = "tensor") -> None:
        super().__init__()
        self.fc, self.out, self.output = nn.Linear(4, 7), nn.Linear(7, 3), output

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        logits = self.out(F.relu(self.fc(x)))
        return logits if self.output == "tensor" else {self.output: logits}


class Gated(nn.Module):
    """The last linear layer by its place is not the last one to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.cls, self.gate = nn.Linear(6, 5), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.cls(F.relu(self.gate(x)))


class DenseHidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier, self.out = nn.Conv2d(4, 7, 1), nn.Conv2d(7, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.out(F.relu(self.classifier(x)))}


@pytest.mark.parametrize("regularizer", sorted(set(REGULARIZERS) - {"ProtoSeg"}))
@pytest.mark.parametrize("soft", [False, True])
def test_of_images(regularizer: str, soft: bool) -> None:
    attached = attach(HiddenFC(), regularizer)
    targets = torch.eye(7)[:2] if soft else torch.tensor([0, 2])
    with pytest.raises(InputError, match=r"'fc', .* gives 7 classes, and the output of the model is \[2, 3\]"):
        attached(torch.randn(2, 4), targets)


@pytest.mark.parametrize(
    "model", [Gated(), HiddenFC("logits"), HiddenFC("out")], ids=lambda model: type(model).__name__
)
def test_of_other_outputs_and_places(model: nn.Module) -> None:
    with pytest.raises(InputError, match="name the layer that gives the logits with classifier="):
        attach(model, Recorder())(torch.randn(2, 4), torch.tensor([0, 2]))


def test_of_pixels() -> None:
    with pytest.raises(
        InputError, match=r"'classifier', .* gives 7 classes, and the output of the model is \[2, 3, 5, 5\]"
    ):
        attach(DenseHidden(), Recorder())(torch.randn(2, 4, 5, 5), torch.zeros(2, 5, 5, dtype=torch.long))


def test_named_it_is_right() -> None:
    logits, losses = attach(HiddenFC(), "SAR", classifier="out")(torch.randn(2, 4), torch.tensor([0, 2]))
    assert logits.shape == (2, 3)
    assert set(losses) == {"loss_anchor", "loss_aux"}
