"""A loss of one's own, entered after everything was imported, and what is said of one that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from tiny_runs import TINY
from torch import Tensor, nn

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import Job
from sar_cls.errors import InputError
from sar_cls.losses import LOSSES, ClassCountLoss
from sar_cls.losses.base import ClassCounts, expected_cost
from sar_cls.runs.record import read_record

NAME = "LossOfTheTest"


class Counting(ClassCountLoss):
    """Class-balanced by the training counts."""

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__(class_counts)
        self.register_buffer("log_counts", torch.tensor(class_counts, dtype=torch.float32).log(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return expected_cost(-F.log_softmax(logits + self.log_counts, dim=1), targets)


class Plain(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets)


@pytest.fixture
def entered() -> Iterator[Callable[[type[nn.Module]], None]]:
    def enter(loss: type[nn.Module]) -> None:
        LOSSES[NAME] = loss  # type: ignore[assignment]

    yield enter
    LOSSES.pop(NAME, None)
    MODELS.module_dict.pop(NAME, None)


def config(text: str) -> str:
    return TINY + f"model = dict(head=dict(loss=dict(_delete_=True, {text})))\n"


def run(job: Job) -> float:
    engine.run(job, Options(epochs=1))
    return float(read_record(job.run_dir)["metrics"]["last"]["nll"])


def test_it_trains_as_the_same_loss_that_comes_along(
    make_job: Callable[..., Job], entered: Callable[[type[nn.Module]], None]
) -> None:
    entered(Plain)
    assert run(make_job(config(f"type={NAME!r}"), row="plain")) == run(make_job(row="shipped"))
    entered(Counting)  # of the same name, as an edited module that is imported again
    own = run(make_job(config(f"type={NAME!r}, class_counts='train'"), row="own"))
    assert own == pytest.approx(
        run(make_job(config("type='BalancedSoftmax', class_counts='train'"), row="balanced")), rel=1e-5
    )


def test_one_that_is_not_there_names_a_near_one_of_ours(make_job: Callable[..., Job]) -> None:
    for given, near in (
        ("LDAMLoss", "LDAM"),
        ("BalancedSoftMax", "BalancedSoftmax"),
        ("FocalLosss", "SoftmaxFocalLoss"),
    ):
        with pytest.raises(InputError, match=f"there is no loss {given!r}: did you mean {near!r}"):
            engine.run(make_job(config(f"type={given!r}")), Options())
