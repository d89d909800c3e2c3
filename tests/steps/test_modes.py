"""Which step a mode gives, and why not another."""

from __future__ import annotations

import pytest

import sar_cls.mm  # noqa: F401
from sar_cls.steps.modes import DEFAULT_MODE, MODES, build_step
from sar_cls.steps.step import CompiledStep, EagerStep

from .small_steps import BATCH, build_model, build_optimizer


class TestModes:
    def test_the_default_is_a_mode(self) -> None:
        assert DEFAULT_MODE in MODES

    def test_a_graph_on_the_cpu_is_said_to_be_impossible(self) -> None:
        model, said = build_model(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        assert type(step) is EagerStep
        assert said == ["training eagerly, not in mode cudagraph: a CUDA graph needs a CUDA device, this is cpu"]

    def test_eager_and_compile(self) -> None:
        model, said = build_model(), []
        assert type(build_step(model, build_optimizer(model), BATCH, "eager", say=said.append)) is EagerStep
        assert type(build_step(model, build_optimizer(model), BATCH, "compile", say=said.append)) is CompiledStep
        assert said == []

    def test_gradient_accumulation_stays_eager(self) -> None:
        model, said = build_model(), []
        optim_wrapper = build_optimizer(model, accumulative_counts=2)
        assert type(build_step(model, optim_wrapper, BATCH, "compile", say=said.append)) is EagerStep
        assert len(said) == 1

    @pytest.mark.parametrize("mode", ["compile", "cudagraph"])
    def test_lists_of_images_stay_eager(self, mode: str) -> None:
        model, said = build_model(), []
        assert type(build_step(model, build_optimizer(model), BATCH, mode, say=said.append, tensors=False)) is EagerStep
        assert said == [
            f"training eagerly, not in mode {mode}: images that come one by one through pipelines are no batch of one shape"
        ]

    def test_unknown_mode(self) -> None:
        model = build_model()
        with pytest.raises(ValueError, match="eager, compile, cudagraph"):
            build_step(model, build_optimizer(model), BATCH, "jit")
        assert len(MODES) == 3
