"""A whole training step captured in one CUDA graph: augmentation, mixup, forward, regularizer, backward, optimizer, loss sums.

A net for 32x32 images has hundreds of kernels of a few microseconds; launched one by one from Python they leave a large GPU
waiting.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from sar_cls import messages
from sar_cls.steps.step import Batch, EagerStep, first_line

# Steps before the capture: libraries choose their kernels, the optimizer makes its buffers.
WARM_UP = 3
_PLAIN = (bool, int, float, str, type(None))


class Recorder(Protocol):
    """What records a step once and gives back a function that repeats it."""

    def warm_up(self, step: Callable[[], None]) -> list[str]:
        """Runs a step as the capture will, and returns where it waited for the device."""

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """Records a step without running it."""


class CudaRecorder:
    """Records into a ``torch.cuda.CUDAGraph``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, step: Callable[[], None]) -> list[str]:
        current = torch.cuda.current_stream(self.device)
        before = torch.cuda.get_sync_debug_mode()
        self.stream.wait_stream(current)
        try:
            with warnings.catch_warnings(record=True) as caught, torch.cuda.stream(self.stream):
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
            current.wait_stream(self.stream)
        return [
            f"{warning.filename}, line {warning.lineno}"
            for warning in caught
            if "called a synchronizing CUDA operation" in str(warning.message)
        ]

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self.device)
        try:
            # Other threads (one that pins memory for a DataLoader, say) may go on using CUDA meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                step()
        except BaseException:  # torch leaves its stream the current one where the capture cannot be ended
            torch.cuda.set_stream(current)
            current.wait_stream(self.stream)
            raise
        return graph.replay


class GraphStep(EagerStep):
    """Replays a captured step.

    The first steps are run as they are, on a side stream: they are the warm-up, and part of the training, so nothing has to be
    undone. Then a step is recorded, which changes no tensor, and from there on a batch is copied into the place that the graph
    reads from. A batch of another size is run eagerly.

    The learning rates lie in device tensors while the step is recorded and follow the parameter groups. Everything else that a step
    depends on without reading it from a tensor (attributes of the modules, the optimizer's other settings, where the tensors
    lie) is compared, and the step recorded anew if it has changed.

    Args:
        inner: the step to record.
        batch_size: of a full batch.
        say: prints a line.
        recorder: takes the place of CUDA in tests.
    """

    def __init__(
        self,
        inner: EagerStep,
        batch_size: int,
        say: Callable[[str], None] = messages.remark,
        recorder: Recorder | None = None,
    ) -> None:
        self.inner = inner
        self.model = inner.model
        self.optim_wrapper = inner.optim_wrapper
        self.meter = inner.meter
        self.batch_size = batch_size
        self.say = say
        self.failed = False
        self._warm = 0
        self._replay: Callable[[], None] | None = None
        device = next(self.model.parameters()).device
        self._recorder = recorder or CudaRecorder(device)
        groups = self.optim_wrapper.optimizer.param_groups
        self._rates = [torch.zeros((), device=device) for _ in groups]
        self._rates_hold: list[float] = []

    @property
    def mode(self) -> str:
        if self.failed:
            return self.inner.mode
        return "cudagraph" if self.inner.mode == "eager" else f"{self.inner.mode}+cudagraph"

    def begin_epoch(self) -> None:
        super().begin_epoch()
        if self._replay is not None and self._fixed() != self._recorded_with:
            self._forget()

    def __call__(self, batch: Batch) -> None:
        if self.failed or len(batch["targets"]) != self.batch_size:
            self.inner(batch)
            return
        if self._replay is not None and self._settings() != self._recorded_settings:
            self._forget()
        if self._replay is None:
            if self._warm < WARM_UP:
                self._run_warm_up(batch)
                return
            self._record(batch)
            if self._replay is None:
                self.inner(batch)
                return
        _copy(batch, self._static)
        self._follow_rates()
        self._replay()
        self.meter.steps += 1
        self.optim_wrapper._inner_count += 1

    def _run_warm_up(self, batch: Batch) -> None:
        self._follow_rates()
        waits = self._recorder.warm_up(lambda: self._run(batch))
        self._warm += 1
        if self._warm == WARM_UP and waits:  # the first steps may, while libraries set themselves up
            self._give_up(f"it waits for the device at {waits[0]}")

    def _record(self, batch: Batch) -> None:
        self._static = _clone(batch)
        self._rates_hold = []
        self._follow_rates()
        kept, fixed = self._references(), self._fixed()
        counts = self.meter.steps, self.optim_wrapper._inner_count
        # A recorded step runs its Python once and computes nothing: only what it did to Python objects is taken back.
        try:
            replay = self._recorder.record(self._run_on_static)
            if self._fixed() != fixed:
                raise RuntimeError("it replaces state, or keeps it outside of tensors, instead of writing it in place")
        except Exception as error:
            cause = error.__context__ if isinstance(error.__context__, Exception) else error
            self._restore(kept)
            self.meter.steps, self.optim_wrapper._inner_count = counts
            self.optim_wrapper.zero_grad()
            self._give_up(first_line(cause))
            return
        self._replay, self._recorded_with, self._recorded_settings = replay, fixed, self._settings()

    def _run_on_static(self) -> None:
        """The inner step on the static batch; a recording counts as no step."""
        steps, count = self.meter.steps, self.optim_wrapper._inner_count
        self._run(self._static)
        self.meter.steps, self.optim_wrapper._inner_count = steps, count

    def _run(self, batch: Batch) -> None:
        """The inner step, with the learning rates in tensors."""
        optimizer = self.optim_wrapper.optimizer
        groups = optimizer.param_groups
        before = [(group["lr"], group["fused"], group["foreach"]) for group in groups]
        align = optimizer.register_step_pre_hook(_align_gradients)
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                # The fused kernel alone reads a learning rate from the device.
                group.update(lr=rate, fused=True, foreach=False)
            self.inner(batch)
        finally:
            align.remove()
            for group, (rate, fused, foreach) in zip(groups, before, strict=True):
                group.update(lr=rate, fused=fused, foreach=foreach)

    def _follow_rates(self) -> None:
        rates = [float(group["lr"]) for group in self.optim_wrapper.optimizer.param_groups]
        if rates != self._rates_hold:
            # The numbers travel as arguments of a kernel: no copy from the host, so nothing waits.
            torch._foreach_zero_(self._rates)
            torch._foreach_add_(self._rates, rates)
            self._rates_hold = rates

    def _forget(self) -> None:
        """Goes back to one more warm-up step, after which the step is recorded anew."""
        self._replay = None
        self._warm = WARM_UP - 1

    def _give_up(self, reason: str) -> None:
        self.failed = True
        self.say(f"training without a CUDA graph: the step cannot be captured ({reason})")

    # What a recorded step depends on beside the contents of tensors.

    def _settings(self) -> list[tuple[Any, ...]]:
        groups = self.optim_wrapper.optimizer.param_groups
        return [
            tuple(group.get(key) for key in ("momentum", "dampening", "weight_decay", "nesterov")) for group in groups
        ]

    def _fixed(self) -> tuple[Any, ...]:
        """Where all state lies, and the plain attributes of all modules."""
        tensors = [*self.model.parameters(), *self.model.buffers(), self.meter.total]
        tensors += [state.get("momentum_buffer") for state in self.optim_wrapper.optimizer.state.values()]
        places = [None if tensor is None else (tensor.data_ptr(), tensor.requires_grad) for tensor in tensors]
        attributes = [
            (name, key, value)
            for name, module in self.model.named_modules()
            for key, value in vars(module).items()
            if type(value) in _PLAIN
        ]
        return places, attributes

    def _references(self) -> tuple[Any, ...]:
        modules = [(module, dict(vars(module)), dict(module._buffers)) for module in self.model.modules()]
        optimizer_state = {key: dict(state) for key, state in self.optim_wrapper.optimizer.state.items()}
        return modules, optimizer_state, self.meter.total, list(self.meter.names)

    def _restore(self, references: tuple[Any, ...]) -> None:
        modules, optimizer_state, self.meter.total, self.meter.names = references
        for module, attributes, buffers in modules:
            module._buffers.update(buffers)
            vars(module).update({key: value for key, value in attributes.items() if type(value) in _PLAIN})
        for key, state in optimizer_state.items():
            self.optim_wrapper.optimizer.state[key].update(state)


def _align_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """The fused kernel wants equal strides, also in dimensions of size 1, where they mean nothing."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            parameter.grad = _strided_like(parameter.grad, parameter)
            buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                optimizer.state[parameter]["momentum_buffer"] = _strided_like(buffer, parameter)


def _strided_like(tensor: Tensor, model: Tensor) -> Tensor:
    return tensor if tensor.stride() == model.stride() else torch.empty_like(model.detach()).copy_(tensor)


def _clone(batch: Batch) -> Batch:
    return {key: _clone(value) if isinstance(value, dict) else value.clone() for key, value in batch.items()}


def _copy(batch: Batch, static: Batch) -> None:
    for key, target in static.items():
        source: Tensor | Batch = batch[key]
        if isinstance(source, dict):
            _copy(source, target)
        else:
            target.copy_(source)
