"""Regularizers and losses of one's own that cannot be built, or that end a run: one sentence, before the run where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from tiny_runs import TINY
from torch import Tensor, nn

import sar_cls
from sar_cls import REGULARIZERS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.losses import LOSSES, ClassCountLoss
from sar_cls.runs.history import read_history

NAME = "OfTheTest"
MakeJob = Callable[..., Job]


class WithoutLosses(sar_cls.Regularizer):
    def loss(self, features: Any, targets: Any, classifier: Any) -> dict[str, Tensor]:
        return {"loss_misnamed": features.sum()}


class TooEarly(sar_cls.Regularizer):
    def __init__(self, num_classes: int, feat_dim: int) -> None:
        self.scale = nn.Parameter(torch.ones(()))
        super().__init__(num_classes, feat_dim)


class NeedsMore(ClassCountLoss):
    def __init__(self, class_counts: list[int], margin: float) -> None:
        super().__init__(class_counts)


class Plain(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return logits.logsumexp(1).mean()


class ReturnsNothing(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor) -> None:
        return None


class TurnsNaN(sar_cls.Regularizer):
    """Fine in the nine steps of the first epoch, NaN from the second one on, until it is mended."""

    mended = False

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__(num_classes, feat_dim)
        self.steps = 0

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        self.steps += 1
        fine = self.mended or self.steps <= 9
        return {"loss_norm": 1e-3 * targets.mean(features.square().sum(dim=1)) * (1.0 if fine else float("nan"))}


@pytest.fixture
def entered() -> Iterator[None]:
    yield
    LOSSES.pop(NAME, None)
    MODELS.module_dict.pop(NAME, None)
    REGULARIZERS.pop(NAME, None)


def with_regularizer(kind: Any, arguments: str = "") -> str:
    REGULARIZERS[NAME] = kind
    return TINY + f"model = dict(head=dict(regularizer=dict(type={NAME!r}, {arguments})))\n"


def with_loss(kind: Any, arguments: str = "") -> str:
    LOSSES[NAME] = kind
    return TINY + f"model = dict(head=dict(loss=dict(_delete_=True, type={NAME!r}, {arguments})))\n"


@pytest.mark.usefixtures("entered")
class TestBeforeTheRun:
    def refused(self, job: Job) -> str:
        with pytest.raises(InputError) as error:
            resolve(job.source, Options())
        message = str(error.value)
        assert len(message.splitlines()) == 1
        assert str(job.source.config) in message
        return message

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            (WithoutLosses, f"{NAME} has no method losses"),
            (TooEarly, "its constructor ends in AttributeError: cannot assign parameters before"),
            (lambda **arguments: 3, f"{NAME} of REGULARIZERS gives a int: enter a class"),
        ],
    )
    def test_regularizers(self, kind: Any, words: str, make_job: MakeJob) -> None:
        assert f"regularizer: {words}" in self.refused(make_job(with_regularizer(kind)))

    def test_a_type_that_is_no_name(self, make_job: MakeJob) -> None:
        job = make_job(TINY + 'model = dict(head=dict(regularizer=dict(type=["SAR"])))\n')
        assert "unknown regularizer ['SAR']" in self.refused(job)

    @pytest.mark.parametrize(
        ("kind", "arguments", "words"),
        [
            (NeedsMore, "class_counts='train'", "missing 1 required positional argument: 'margin'"),
            (NeedsMore, "margin=1.0", "missing 1 required positional argument: 'class_counts'"),
            (Plain, "class_counts='train'", "class_counts"),
        ],
    )
    def test_losses(self, kind: Any, arguments: str, words: str, make_job: MakeJob) -> None:
        job = make_job(with_loss(kind, arguments))
        assert words in self.refused(job)

    def test_a_function_among_the_losses(self, make_job: MakeJob) -> None:
        def own(logits: Tensor, targets: Tensor) -> Tensor:
            return logits.mean()

        text = with_loss(own)
        assert f"{NAME} of LOSSES is 'own': enter a class derived from torch.nn.Module" in self.refused(make_job(text))


@pytest.mark.usefixtures("entered")
class TestInTheRun:
    def test_a_loss_that_returns_nothing(self, make_job: MakeJob, cache: DataCache) -> None:
        with pytest.raises(ValueError, match="the loss ReturnsNothing returned a NoneType: return a tensor"):
            engine.run(make_job(with_loss(ReturnsNothing)), Options(), cache)

    def test_one_that_is_not_finite_ends_the_run_and_leaves_the_epoch_before(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = with_regularizer(TurnsNaN).replace("max_epochs=2", "max_epochs=3").replace("T_max=2", "T_max=3")
        job = make_job(text)
        with pytest.raises(RuntimeError, match="diverged in epoch 2, not finite: loss_ce, loss_norm; lower"):
            engine.run(job, Options(), cache)
        assert list(read_history(job.run_dir)["epoch"]) == [1]
        monkeypatch.setattr(TurnsNaN, "mended", True)
        assert engine.run(job, Options(), cache)["epochs"] == 3
