"""States of models and files of them: what the tests of weights load."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.library_backbones import import_timm
from sar_cls.weights import load_weights

State = dict[str, Tensor]


def randomised(model: nn.Module, seed: int = 1) -> State:
    """A state of the model's shapes with other numbers in it."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value.clone() + 3
        for name, value in model.state_dict().items()
    }


def timm_resnet18(num_classes: int = 10) -> nn.Module:
    return import_timm().create_model("resnet18", num_classes=num_classes)


def as_mmpretrain(state: State) -> State:
    return {f"head.{name}" if name.startswith("fc.") else f"backbone.{name}": value for name, value in state.items()}


def assert_loaded(module: nn.Module, expected: State, prefix: str = "", skip: str = "fc.") -> None:
    state = module.state_dict()
    names = [name for name in expected if not name.startswith(skip)]
    assert len(names) == 120
    for name in names:
        assert torch.equal(state[prefix + name], expected[name]), name


def refuses(module: nn.Module, source, message: str, **kwargs) -> None:
    """Raises one sentence, and leaves the model as it was."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(InputError, match=message) as error:
        load_weights(module, source, **kwargs)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
