"""The eager step, which is the measure of the others, and the compiled one beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sar_cls.mm  # noqa: F401
from sar_cls.regularizers import REGULARIZERS
from sar_cls.steps.step import CompiledStep, EagerStep

from .small_steps import (
    BATCH,
    BranchOnValue,
    C,
    assert_same,
    build_loader,
    build_model,
    build_optimizer,
    eager,
    rates,
    train,
)


class TestEager:
    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_is_train_step_to_the_bit(self, name: str) -> None:
        """Against a loop written out: train_step, and the losses summed as separate tensors."""
        regularizer = None if name == "none" else dict(type=name)
        step, means = eager(regularizer)
        model = build_model(regularizer)
        optim_wrapper, loader, done = build_optimizer(model), build_loader(model), 0
        for epoch in range(3):
            torch.manual_seed(epoch)
            loader.set_epoch(epoch)
            sums: dict[str, Tensor] = {}
            for batch in loader:
                optim_wrapper.optimizer.param_groups[0]["lr"] = rates(done)
                losses = model.train_step(batch, optim_wrapper)
                sums = {key: sums.get(key, torch.zeros(())) + value.detach() for key, value in losses.items()}
                done += 1
            assert means[epoch] == {key: float(value / len(loader)) for key, value in sums.items()}
        assert_same(step, EagerStep(model, optim_wrapper), exactly=True)

    def test_means_start_anew_with_an_epoch(self) -> None:
        model = build_model()
        step, loader = EagerStep(model, build_optimizer(model)), build_loader(model)
        step.begin_epoch()
        assert step.means() == {}
        step(next(iter(loader)))
        assert set(step.means()) == {"loss"}
        step.begin_epoch()
        assert step.means() == {}


class TestCompiled:
    @pytest.mark.parametrize("name", ["SAR", "CAR"])
    def test_equals_eager(self, name: str) -> None:
        expected, expected_means = eager(dict(type=name))
        model, said = build_model(dict(type=name)), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="aot_eager", say=said.append)
        means = train(step, build_loader(model))
        assert said == []
        assert step.mode == "compile"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert_same(step, expected, exactly=False, tolerance=1e-3)

    def test_compiles_once_for_the_full_batches(self) -> None:
        calls = []

        def backend(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
            calls.append(len(inputs))
            return module.forward

        model = build_model(dict(type="SAR"))
        step = CompiledStep(model, build_optimizer(model), BATCH, backend=backend)  # type: ignore[arg-type]
        train(step, build_loader(model))
        assert len(calls) == 1

    def test_a_branch_on_values_falls_back_with_one_line(self) -> None:
        expected, expected_means = eager(BranchOnValue(C, 64))
        model, said = build_model(BranchOnValue(C, 64)), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="aot_eager", say=said.append)
        assert train(step, build_loader(model)) == expected_means
        assert step.mode == "eager"
        assert len(said) == 1
        assert said[0].startswith("training eagerly: ")
        assert "\n" not in said[0]
        assert_same(step, expected, exactly=True)

    def test_an_error_of_the_compiled_backward_pass_leaves_no_trace(self) -> None:
        """The buffers have moved by then: batch norm's statistics, SAR's anchors."""

        class Breaking(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:
                raise RuntimeError("no kernel for this")

        expected, expected_means = eager(dict(type="SAR"))
        model, said = build_model(dict(type="SAR")), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="eager", say=said.append)
        compiled = step._losses_of
        step._losses_of = lambda batch: {key: Breaking.apply(value) for key, value in compiled(batch).items()}
        assert train(step, build_loader(model)) == expected_means
        assert len(said) == 1
        assert "no kernel for this" in said[0]
        assert_same(step, expected, exactly=True)
