"""Learning rates, step by step, of the schedulers that mmengine itself builds from the configs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import nn

import sar_cls.mm  # noqa: F401
from sar_cls.cli import CONFIGS
from sar_cls.engine.config import load_config, row_config
from sar_cls.engine.schedule import recipe_epochs, shorten
from sar_cls.suites.rows import load_suite

CIFAR100 = dict(type="MultiStepLR", by_epoch=True, milestones=[60, 120, 160], gamma=0.2)
LONGTAIL = [
    dict(type="LinearLR", start_factor=0.2, by_epoch=True, begin=0, end=5),
    dict(type="MultiStepLR", milestones=[160, 180], gamma=0.1, by_epoch=True),
]
COSINE = dict(type="CosineAnnealingLR", T_max=10, by_epoch=True)
CUB = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=95, by_epoch=True, begin=5, end=100),
]
RECIPES = {"cifar100": (CIFAR100, 200), "longtail": (LONGTAIL, 200), "cosine": (COSINE, 10), "cub": (CUB, 100)}


def config(name: str) -> Config:
    schedulers, epochs = RECIPES[name]
    return Config(dict(train_cfg=dict(max_epochs=epochs), param_scheduler=schedulers))


def learning_rates(config: Config, batches: int, groups: Sequence[float] = (1.0,)) -> list[list[float]]:
    """The rate of each parameter group at each step, [steps][groups], as mmengine's runner and hook drive the schedulers."""
    epochs = config.train_cfg["max_epochs"]
    weights = [nn.Parameter(torch.zeros(1)) for _ in groups]
    optimizer = torch.optim.SGD([{"params": [w], "lr": lr} for w, lr in zip(weights, groups, strict=True)], lr=1.0)

    class Engine(Runner):
        """Only what building schedulers asks of a runner."""

        def __init__(self) -> None:
            self._train_loop = type("Loop", (), dict(max_epochs=epochs, max_iters=epochs * batches))()
            self.optim_wrapper = OptimWrapper(optimizer)
            self._experiment_name = "schedule"

        train_dataloader = range(batches)  # type: ignore[assignment]
        max_epochs, max_iters = epochs, epochs * batches

    engine = Engine()
    schedulers = engine.build_param_scheduler(config.param_scheduler)
    rates = []
    for _ in range(epochs):
        for _ in range(batches):
            rates.append([group["lr"] for group in optimizer.param_groups])
            engine.optim_wrapper.optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return rates


def first(rates: list[list[float]]) -> list[float]:
    return [step[0] for step in rates]


class TestShorten:
    @pytest.mark.parametrize("name", RECIPES)
    def test_the_recipes_own_number_changes_nothing(self, name: str) -> None:
        made = config(name)
        shorten(made, recipe_epochs(made), 7)
        assert made.to_dict() == config(name).to_dict()

    @pytest.mark.parametrize(
        ("epochs", "batches"), [(1, 391), (1, 3), (2, 85), (2, 391), (20, 85), (50, 17), (100, 3), (199, 7), (300, 5)]
    )
    def test_milestones_stay_at_their_share_of_the_run(self, epochs: int, batches: int) -> None:
        made = config("cifar100")
        shorten(made, epochs, batches)
        assert recipe_epochs(made) == epochs
        rates, steps = first(learning_rates(made, batches)), epochs * batches
        assert len(rates) == steps
        for step, rate in enumerate(rates):
            position = step / steps * 200
            expected = 0.2 ** sum(position >= milestone for milestone in (60, 120, 160))
            near = any(abs(position - milestone) <= 200 / steps for milestone in (60, 120, 160))
            assert near or rate == pytest.approx(expected), (step, position)

    @pytest.mark.parametrize("epochs", [2, 10, 20])
    def test_warm_up_and_milestones_of_the_long_tail(self, epochs: int) -> None:
        batches = 86
        made = config("longtail")
        shorten(made, epochs, batches)
        rates, published = first(learning_rates(made, batches)), first(learning_rates(config("longtail"), 1))
        assert len(rates) == epochs * batches
        for step, rate in enumerate(rates):
            position = step / len(rates) * 200
            if position < 5 - 200 / len(rates):  # the full recipe climbs by epoch, the short one by step
                assert abs(rate - published[int(position)]) <= 0.2 + 1e-9
            elif min(abs(position - milestone) for milestone in (5, 160, 180)) > 200 / len(rates):
                assert rate == pytest.approx(published[int(position)])
        assert rates[0] == pytest.approx(0.2)
        climbing = rates[: int(0.79 * len(rates))]
        assert climbing == sorted(climbing)
        assert rates[-1] == pytest.approx(0.01)

    @pytest.mark.parametrize(("epochs", "batches"), [(1, 85), (1, 10), (1, 1), (2, 1), (1, 400)])
    @pytest.mark.parametrize("name", RECIPES)
    def test_few_epochs_work(self, name: str, epochs: int, batches: int) -> None:
        made = config(name)
        shorten(made, epochs, batches)
        rates = first(learning_rates(made, batches))
        assert len(rates) == epochs * batches
        assert all(0 < rate <= 1 + 1e-9 for rate in rates)
        if batches == 400:
            assert max(rates) == pytest.approx(1.0, abs=1e-3)
            assert rates[-1] < 0.1

    @pytest.mark.parametrize("epochs", [1, 3, 5, 20])
    def test_cosine(self, epochs: int) -> None:
        made = config("cosine")
        shorten(made, epochs, 86)
        rates = first(learning_rates(made, 86))
        for step, rate in enumerate(rates):
            assert rate == pytest.approx(0.5 * (1 + math.cos(math.pi * step / len(rates))), abs=1e-9)

    def test_a_schedule_that_is_longer_than_the_training_shrinks_as_well(self) -> None:
        cosine = dict(type="CosineAnnealingLR", T_max=95, by_epoch=True, begin=5, end=100)
        shortened = Config(dict(train_cfg=dict(max_epochs=50), param_scheduler=[cosine]))
        shorten(shortened, 25, 10)
        (found,) = shortened.param_scheduler
        assert (found["T_max"], found["begin"], found["end"]) == (475, 25, 500)

    @pytest.mark.parametrize("epochs", [10, 50])
    def test_cub_warms_up_by_step_then_cosine(self, epochs: int) -> None:
        batches, made = 94, config("cub")
        shorten(made, epochs, batches)
        rates, warm_up = first(learning_rates(made, batches)), round(5 / 100 * epochs * batches)
        for step, rate in enumerate(rates):
            if step < warm_up:
                expected = 0.01 + 0.99 * step / (warm_up - 1)
            else:
                expected = 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (len(rates) - warm_up)))
            assert rate == pytest.approx(expected, abs=1e-6), step

    def test_a_full_cub_run_warms_up_by_step(self) -> None:
        batches = 20
        rates = first(learning_rates(config("cub"), batches))
        assert rates[0] == pytest.approx(0.01)
        assert rates[1] == pytest.approx(0.01 + 0.99 / (5 * batches - 1))
        assert rates[5 * batches] == pytest.approx(1.0)
        for epoch in range(5, 100):
            expected = 0.5 * (1 + math.cos(math.pi * (epoch - 5) / 95))
            assert rates[epoch * batches] == pytest.approx(expected, abs=1e-9)

    def test_schedulers_by_step_shrink_too(self) -> None:
        made = Config(
            dict(
                train_cfg=dict(max_epochs=10),
                param_scheduler=[dict(type="MultiStepLR", by_epoch=False, milestones=[50, 80], gamma=0.1)],
            )
        )
        shorten(made, 5, 10)
        rates = first(learning_rates(made, 10))
        assert rates == pytest.approx([1.0] * 25 + [0.1] * 15 + [0.01] * 10)

    @pytest.mark.parametrize(("steps", "epochs", "expected"), [(425, 20, 42), (425, 200, 425), (40, 1, 1), (0, 20, 0)])
    def test_the_warm_up_of_a_regularizer_shrinks_too(self, steps: int, epochs: int, expected: int) -> None:
        made = config("longtail")
        made.model = dict(head=dict(regularizer=dict(type="SAR", aux_warmup=steps)))
        shorten(made, epochs, 85)
        assert made.model.head.regularizer.aux_warmup == expected

    def test_without_schedulers(self) -> None:
        made = Config(dict(train_cfg=dict(max_epochs=10)))
        shorten(made, 2, 5)
        assert recipe_epochs(made) == 2


class TestRecipes:
    def test_first_stage_is_the_published_rule(self) -> None:
        made = load_config(CONFIGS / "cifar100_lt" / "mixup.py")
        base = made.optim_wrapper.optimizer.lr
        assert recipe_epochs(made) == 200
        rates = first(learning_rates(made, 2, [base]))
        for epoch in range(1, 201):
            expected = 0.1 * epoch / 5 if epoch <= 5 else 0.001 if epoch > 180 else 0.01 if epoch > 160 else 0.1
            assert rates[2 * (epoch - 1) : 2 * epoch] == pytest.approx([expected] * 2, rel=1e-9), epoch

    @pytest.mark.parametrize("epochs", [None, 3])
    @pytest.mark.parametrize("factor", [0.3, 0.1, 0.03])
    @pytest.mark.parametrize(
        "suite", ["sensitivity_digits_lt", "sensitivity_cifar100_lt", "sensitivity_cifar100_lt_16"]
    )
    def test_the_embedding_learns_at_its_share_of_the_rate_at_every_step(
        self, suite: str, factor: float, epochs: int | None
    ) -> None:
        rows = load_suite(CONFIGS, suite)
        made = row_config(rows.row(f"sar_embedding_lr_{factor}".replace(".", "_")).source)
        plain = row_config(rows.row("mixup_sar").source)
        base = plain.optim_wrapper.optimizer.lr
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            model = MODELS.build(dict(made.model.to_dict(), data_preprocessor=made.data_preprocessor.to_dict()))
            wrapper = build_optim_wrapper(model, made.optim_wrapper)
        embedding = {id(parameter) for parameter in model.head.regularizer.embedding.parameters()}
        starts, is_embedding = [], []
        for group in wrapper.optimizer.param_groups:
            (parameter,) = group["params"]
            starts.append(group["lr"])
            is_embedding.append(id(parameter) in embedding)
            assert group["weight_decay"] == plain.optim_wrapper.optimizer.weight_decay
            assert group["momentum"] == 0.9
        assert sum(is_embedding) == len(embedding) == 8
        assert len(starts) == len(list(model.parameters()))
        for shortened in (made, plain):
            shorten(shortened, epochs or recipe_epochs(shortened), 2)
        model_rates = first(learning_rates(plain, 2, [base]))
        assert min(model_rates) < 0.1 * max(model_rates)  # there is a schedule to be followed
        for rates, expected in zip(learning_rates(made, 2, starts), model_rates, strict=True):
            for rate, is_part in zip(rates, is_embedding, strict=True):
                assert rate == pytest.approx(expected * factor if is_part else expected, rel=1e-9, abs=1e-15)

    def test_second_stage_is_the_published_rule_for_both_groups(self) -> None:
        made = load_config(CONFIGS / "cifar100_lt" / "mislas.py")
        made.model.head.loss["class_counts"] = list(range(100, 0, -1))
        model = MODELS.build(dict(made.model.to_dict(), data_preprocessor=made.data_preprocessor.to_dict()))
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            wrapper = build_optim_wrapper(model, made.optim_wrapper)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        trained = {
            names[id(parameter)]: group["lr"]
            for group in wrapper.optimizer.param_groups
            for parameter in group["params"]
            if parameter.requires_grad
        }
        assert trained == pytest.approx(
            {"head.fc.scaling.scale": 0.1, "head.fc.weight": 0.02, "head.fc.bias": 0.02}, rel=1e-9
        )
        assert recipe_epochs(made) == 10
        rates = learning_rates(made, 3, [0.1, 0.02])
        for step, pair in enumerate(rates):
            factor = 0.5 * (1 + math.cos(math.pi * (step // 3) / 10))
            assert pair == pytest.approx([0.1 * factor, 0.02 * factor], rel=1e-6)

    def test_cifar100_is_the_published_rule(self) -> None:
        made = load_config(CONFIGS / "cifar100" / "resnet50.py")
        rates = first(learning_rates(made, 1, [made.optim_wrapper.optimizer.lr]))
        for epoch, rate in enumerate(rates):
            assert rate == pytest.approx(0.1 * 0.2 ** sum(epoch >= m for m in (60, 120, 160)))
