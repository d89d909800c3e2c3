"""A step recorded in a graph, beside the eager one: with a stand-in for CUDA everywhere, and on a device where there is one."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sar_cls.mm  # noqa: F401
from sar_cls.data import DeviceLoader
from sar_cls.regularizers import REGULARIZERS, Regularizer
from sar_cls.steps.captured import WARM_UP, GraphStep
from sar_cls.steps.modes import build_step
from sar_cls.steps.step import EagerStep

from .small_steps import (
    BATCH,
    BranchOnValue,
    C,
    Counting,
    FailsInCapture,
    Rebinding,
    assert_same,
    build_loader,
    build_model,
    build_optimizer,
    eager,
    train,
)


class CopyingRecorder:
    """Behaves as a CUDA graph does: recording computes nothing, a replay reads and writes the recorded tensors."""

    def __init__(self, waits: list[str] | None = None) -> None:
        self.waits = waits or []
        self.warm_ups = self.records = self.replays = 0
        self.step: EagerStep

    def warm_up(self, step: Callable[[], None]) -> list[str]:
        self.warm_ups += 1
        step()
        return self.waits

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        tensors = [*self._tensors()]
        before = [tensor.clone() for tensor in tensors]
        try:
            step()
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)

        def replay() -> None:
            self.replays += 1
            step()

        return replay

    def _tensors(self) -> list[Tensor]:
        total = self.step.meter.total
        assert total is not None
        momentum = [entry["momentum_buffer"] for entry in self.step.optim_wrapper.optimizer.state.values()]
        return [*self.step.model.parameters(), *self.step.model.buffers(), *momentum, total]


def recorded(
    regularizer: Any = None, waits: list[str] | None = None, **parts: Any
) -> tuple[GraphStep, CopyingRecorder, list[str], Any]:
    model, said = build_model(regularizer, **parts), []
    recorder = CopyingRecorder(waits)
    step = GraphStep(EagerStep(model, build_optimizer(model)), BATCH, say=said.append, recorder=recorder)
    recorder.step = step
    return step, recorder, said, model


class TestGraphWithoutADevice:
    """All of a captured step but CUDA itself."""

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_follows_batches_and_schedule(self, name: str) -> None:
        regularizer = None if name == "none" else dict(type=name)
        expected, expected_means = eager(regularizer, fused=True)
        step, recorder, said, model = recorded(regularizer)
        means = train(step, build_loader(model))
        # 3 epochs of 3 full batches and a smaller one: 3 warm-up steps, then 6 from the recording.
        assert (recorder.warm_ups, recorder.records, recorder.replays) == (WARM_UP, 1, 6)
        assert said == []
        assert step.mode == "cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert_same(step, expected, exactly=False)
        assert step.optim_wrapper._inner_count == expected.optim_wrapper._inner_count

    def test_parameter_groups_keep_plain_numbers(self) -> None:
        step, _, _, model = recorded()
        before = copy.deepcopy(step.optim_wrapper.optimizer.state_dict()["param_groups"])
        train(step, build_loader(model))
        after = step.optim_wrapper.optimizer.state_dict()["param_groups"]
        assert [{**group, "lr": 0.1} for group in after] == before
        assert type(after[0]["lr"]) is float

    def test_moved_state_and_changed_settings_are_recorded_anew(self) -> None:
        step, recorder, _, model = recorded(dict(type="SAR"))
        loader = build_loader(model)
        train(step, loader, epochs=2)
        assert recorder.records == 1
        model.head.regularizer.momentum = 0.5  # baked into a recording
        train(step, loader, epochs=1)
        assert recorder.records == 2
        step.optim_wrapper.optimizer.param_groups[0]["weight_decay"] = 0.0
        train(step, loader, epochs=1)
        assert recorder.records == 3
        step.optim_wrapper.load_state_dict(copy.deepcopy(step.optim_wrapper.state_dict()))  # new momentum tensors
        train(step, loader, epochs=1)
        assert recorder.records == 4

    def test_training_and_evaluation_in_turn_is_recorded_once(self) -> None:
        step, recorder, _, model = recorded()
        loader = build_loader(model)
        for _ in range(3):
            train(step, loader, epochs=1)
            model.eval()
        assert recorder.records == 1

    @pytest.mark.parametrize("regularizer", [Counting, Rebinding])
    def test_state_outside_of_fixed_tensors_falls_back(self, regularizer: type[Regularizer]) -> None:
        expected, expected_means = eager(regularizer(C, 64))
        step, recorder, said, model = recorded(regularizer(C, 64))
        means = train(step, build_loader(model))
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4)
        assert recorder.replays == 0
        assert step.mode == "eager"
        assert len(said) == 1
        assert said[0].startswith("training without a CUDA graph: ")
        assert_same(step, expected, exactly=False)

    def test_a_step_that_waits_is_not_recorded(self) -> None:
        expected, expected_means = eager(BranchOnValue(C, 64))
        step, recorder, said, model = recorded(BranchOnValue(C, 64), waits=["my_loss.py, line 7"])
        means = train(step, build_loader(model))
        assert recorder.records == 0
        assert said == [
            "training without a CUDA graph: the step cannot be captured (it waits for the device at my_loss.py, line 7)"
        ]
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4)
        assert_same(step, expected, exactly=False)

    def test_an_error_in_the_capture_leaves_no_trace(self) -> None:
        step, recorder, said, model = recorded(dict(type="SAR"))
        expected, expected_means = eager(dict(type="SAR"))

        def failing(run: Callable[[], None]) -> Callable[[], None]:
            CopyingRecorder.record(recorder, run)
            try:
                raise RuntimeError("operation not permitted when stream is capturing")
            finally:
                raise RuntimeError("the capture was invalidated")

        recorder.record = failing  # type: ignore[method-assign]
        means = train(step, build_loader(model))
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert len(said) == 1
        assert "not permitted when stream is capturing" in said[0]
        assert_same(step, expected, exactly=False)


@pytest.mark.cuda
class TestOnCuda:
    @pytest.fixture(autouse=True)
    def exact(self) -> Any:
        """TF32 and autotuned convolutions would make two eager runs differ already."""
        matmul = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
        torch.backends.cuda.matmul.allow_tf32 = matmul

    def test_a_capture_that_fails_leaves_the_stream_as_it_was(self) -> None:
        stream = torch.cuda.current_stream()
        _, expected_means = eager(FailsInCapture(C, 64), device="cuda")
        model, said = build_model(FailsInCapture(C, 64)).cuda(), []
        step = build_step(model, build_optimizer(model, fused=True), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"))
        assert len(said) == 1
        assert step.mode == "eager"
        assert torch.cuda.current_stream() == stream
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3)

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_no_step_waits_for_the_device(self, name: str, precision: str) -> None:
        model = build_model(None if name == "none" else dict(type=name)).cuda()
        loader = build_loader(model, device="cuda")
        for step in (
            EagerStep(model, build_optimizer(model, precision)),
            build_step(model, build_optimizer(model, precision), BATCH, "cudagraph"),
        ):
            train(step, loader, epochs=2)  # kernels chosen, graph recorded
            step.begin_epoch()
            batches = list(loader)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for number, batch in enumerate(batches):
                    step.optim_wrapper.optimizer.param_groups[0]["lr"] = 0.01 / (number + 1)
                    step(batch)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_graph_equals_eager(self, name: str) -> None:
        """Learning rate and mixup's lambda change from step to step, and the last batch of an epoch is smaller."""
        regularizer = None if name == "none" else dict(type=name)
        expected, expected_means = eager(regularizer, device="cuda", epochs=4)
        model, said = build_model(regularizer).cuda(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"), epochs=4)
        assert said == []
        assert step.mode == "cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3, abs=1e-5)
        assert_same(step, expected, exactly=False, tolerance=1e-3)

    def test_bf16_weights_move_under_a_graph(self) -> None:
        """A cast of the weights that was cached once would train on the first weights for ever."""
        _, expected_means = eager(device="cuda", epochs=4, precision="bf16")
        model = build_model().cuda()
        step = build_step(model, build_optimizer(model, "bf16"), BATCH, "cudagraph")
        means = train(step, build_loader(model, device="cuda"), epochs=4)
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=0.05)

    def test_a_wait_is_found_before_the_capture(self) -> None:
        _, expected_means = eager(BranchOnValue(C, 64), device="cuda")
        model, said = build_model(BranchOnValue(C, 64)).cuda(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"))
        assert len(said) == 1
        assert "waits for the device" in said[0]
        assert step.mode == "eager"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3)

    def test_evaluation_between_replays_sees_the_weights(self) -> None:
        from sar_cls.mm.loops import predict

        model = build_model().cuda()
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph")
        loader = build_loader(model, device="cuda")
        test = DeviceLoader(loader.image_set, BATCH)
        outputs = []
        for _ in range(4):
            train(step, loader, epochs=1)
            outputs.append(predict(model, test, "fp32"))
        assert all(not torch.equal(first, second) for first, second in itertools.pairwise(outputs))

    def test_compiled_and_captured(self) -> None:
        _, expected_means = eager(dict(type="SAR"), device="cuda", epochs=4)
        model, said = build_model(dict(type="SAR")).cuda(), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step = build_step(model, build_optimizer(model), BATCH, "compile", say=said.append)
            means = train(step, build_loader(model, device="cuda"), epochs=4)
        assert said == []
        assert step.mode == "compile+cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-2, abs=1e-4)
