"""A model with several outputs: the layer that was found for the classifier must give the first of them, or be named."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach

from .attached_nets import Recorder

Aux = namedtuple("Aux", ["logits", "aux_logits"])


@dataclass
class Scores:
    scores: Tensor
    hidden: Tensor


class OneHead(nn.Module):
    """A hidden layer of 16 and a classifier of 5 classes under names of choice, and what is returned of both."""

    def __init__(self, make: Any, hidden: str, last: str) -> None:
        super().__init__()
        self.add_module(hidden, nn.Linear(8, 16))
        self.add_module(last, nn.Linear(16, 5))
        self.names, self.make = (hidden, last), make

    def forward(self, x: Tensor) -> Any:
        first, last = (self.get_submodule(name) for name in self.names)
        hidden = first(x).relu()
        return self.make(last(hidden), hidden)


# "fc" is a name of classifiers; without one the last linear layer is taken.
Hidden, Last = partial(OneHead, hidden="fc", last="out"), partial(OneHead, hidden="body", last="cls")


class TwoHeads(nn.Module):
    def __init__(self, coarse: int) -> None:
        super().__init__()
        self.cls, self.coarse = nn.Linear(8, 5), nn.Linear(8, coarse)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls(x), self.coarse(x)


SHAPES = {
    "tuple": lambda logits, other: (logits, other),
    "loss first": lambda logits, other: (logits.sum(), logits, other),
    "unusual key": lambda logits, other: {"logit": logits, "feat": other},
    "nested": lambda logits, other: {"first": [logits], "feat": other},
    "dataclass": lambda logits, other: Scores(logits, other),
    "namespace": lambda logits, other: SimpleNamespace(scores=logits),
}
INPUTS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 5


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
class TestContainers:
    def test_a_hidden_layer_is_refused(self, make: Any) -> None:
        with pytest.raises(InputError, match=r"'fc', .* gives 16 classes, and the output of the model is \[6, 5\]"):
            attach(Hidden(make), Recorder())(INPUTS, TARGETS)

    def test_named_it_is_taken(self, make: Any) -> None:
        attach(Hidden(make), Recorder(), classifier="out")(INPUTS, TARGETS)

    def test_the_classifier_is_taken(self, make: Any) -> None:
        attached = attach(Last(make), Recorder())
        attached(INPUTS, TARGETS)
        assert attached.num_classes == 5


def test_features_may_stand_before_the_logits() -> None:
    attach(Last(lambda logits, features: (features, logits)), Recorder())(INPUTS, TARGETS)


def test_logits_of_a_name_of_their_own_go_before_others() -> None:
    attach(Last(lambda logits, features: Aux(logits, features)), Recorder())(INPUTS, TARGETS)


def test_scores_may_be_made_of_the_logits() -> None:
    attach(Last(lambda logits, features: (logits.softmax(1), features)), Recorder())(INPUTS, TARGETS)


def test_outputs_in_which_nothing_looks_like_logits_are_no_error() -> None:
    attach(Last(lambda logits, features: {"loss": logits.sum(), "text": "none"}), Recorder())(INPUTS, TARGETS)


@pytest.mark.parametrize("coarse", [3, 5])
def test_the_head_of_another_output_is_refused(coarse: int) -> None:
    with pytest.raises(InputError, match=r"'coarse', which was taken for the classifier.*name the layer"):
        attach(TwoHeads(coarse), Recorder())(INPUTS, TARGETS % 3)
    for name in ("cls", "coarse"):
        attach(TwoHeads(coarse), Recorder(), classifier=name)(INPUTS, TARGETS % 3)
