"""A regularizer of one's own: what its losses() may return is said at the first step, since anything else would train nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sar_cls import Regularizer

VALUE = torch.ones(3, requires_grad=True)


class Own(Regularizer):
    """Returns what it was given."""

    def __init__(self, returned: Any) -> None:
        super().__init__(4, 2)
        self.returned = returned

    def losses(self, features: Any, targets: Any, classifier: Any) -> Any:
        return self.returned


def call(returned: Any, device: torch.device) -> dict[str, torch.Tensor]:
    return Own(returned)(torch.randn(3, 2, device=device), torch.tensor([0, 1, 3], device=device))


@pytest.mark.parametrize("returned", [{}, {"loss_norm": VALUE.sum()}, {"loss_a": VALUE.sum(), "loss_b": VALUE.mean()}])
def test_named_scalars_are_passed_on(returned: dict, device: torch.device) -> None:
    assert call(returned, device) is returned


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (VALUE.sum(), "is a Tensor"),
        (None, "is a NoneType"),
        ({"loss_a": VALUE.sum(), "norm": VALUE.sum()}, "has the name 'norm'"),
        ({0: VALUE.sum()}, "has the name 0"),
        ({"loss_a": VALUE}, r"has 'loss_a' of shape \[3\]"),
        ({"loss_a": 0.5}, "has 'loss_a' of type float"),
        ({"loss_ce": VALUE.sum()}, "has the name 'loss_ce', which is the classification loss"),
        ({"loss_a": torch.tensor(3)}, "has 'loss_a' of torch.int64"),
    ],
)
def test_anything_else_is_one_sentence(returned: Any, found: str, device: torch.device) -> None:
    with pytest.raises(
        ValueError, match=f"^Own: what losses.. returned {found}: return a dict of floating-point scalars"
    ):
        call(returned, device)
