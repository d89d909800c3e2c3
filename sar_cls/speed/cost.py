"""What a regularizer costs beyond time: parameters, operations, memory (the SAR paper's Tab. 20, here for classification)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sar_cls.mm.loaders import DataSplits
from sar_cls.regularizers import REGULARIZERS
from sar_cls.speed.contenders import build_model, preloaded
from sar_cls.speed.process import as_here
from sar_cls.speed.setting import Setting, setting_config
from sar_cls.steps.precision import autocast
from sar_cls.suites.rows import Source


@dataclass(frozen=True)
class Cost:
    """The cost of one method.

    Attributes:
        method: "none" or the regularizer's name.
        parameters: trained ones.
        forward: floating point operations of a training step's forward pass over the batch; a multiplication and an addition are
            two.
        step: of forward and backward pass together.
        peak_bytes: the most that tensors took at once in a whole step, weights, gradients and momentum included.
        inference_parameters: that are left at inference.
        inference: floating point operations of one image at inference.
        inference_peak_bytes: the most that tensors took at once in the forward pass of a batch at inference, weights included.
    """

    method: str
    parameters: int
    forward: int
    step: int
    peak_bytes: int
    inference_parameters: int
    inference: int
    inference_peak_bytes: int


def measure_costs(setting: Setting, splits: DataSplits, methods: Iterable[str] = ("none", *REGULARIZERS)) -> list[Cost]:
    """The cost of each method with the setting's net, batch size, precision and device; run eagerly."""
    return [measure_cost(setting, splits, method) for method in methods]


def measure_cost(setting: Setting, splits: DataSplits, method: str, source: Source | None = None) -> Cost:
    """The cost of one method, "none" or a regularizer's name, or, by whatever name, of what a row runs (``source``)."""
    as_here()  # what was timed before may have left the process otherwise
    regularizer_name = None if method == "none" else method
    config = setting_config(setting, len(splits.train.classes), regularizer_name, mixup=False, source=source)
    model: Any = build_model(config, setting)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    inputs, targets = preloaded(setting, splits, config)
    views = config.data_preprocessor.get("views", 1)  # a step sees each image so many times
    seen, labels = torch.cat([inputs] * views), targets.repeat(views)

    def forward() -> Tensor:
        with autocast(setting.device, setting.precision):
            losses = model(seen, labels, mode="loss")
        return model.parse_losses(losses)[0]

    def step() -> None:
        forward().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # makes the momentum
    forward_flops = count_flops(forward)
    step_flops = count_flops(step)
    peak = peak_bytes(step, [*model.parameters(), *model.buffers(), seen, labels, *_momentum(optimizer)])
    model.eval()
    with torch.inference_mode():
        inference = count_flops(lambda: model(inputs[:1]))
        inference_peak = peak_bytes(lambda: infer(model, inputs, setting), _kept_at_inference(model, inputs))
    regularizer = model.head.regularizer
    of_regularizer = 0 if regularizer is None else count_parameters(regularizer)
    return Cost(
        method,
        parameters=count_parameters(model),
        forward=forward_flops,
        step=step_flops,
        peak_bytes=peak,
        inference_parameters=count_parameters(model) - of_regularizer,
        inference=inference,
        inference_peak_bytes=inference_peak,
    )


def infer(model: nn.Module, inputs: Tensor, setting: Setting) -> Tensor:
    """The logits of a batch in the setting's precision."""
    with autocast(setting.device, setting.precision):
        return model(inputs)


def _kept_at_inference(model: Any, inputs: Tensor) -> list[Tensor]:
    """The images and what a trained net keeps: all but its regularizer."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [inputs, *(tensor for name, tensor in tensors if not name.startswith("head.regularizer."))]


def count_parameters(module: nn.Module) -> int:
    """Trained numbers in a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_flops(run: Callable[[], Any]) -> int:
    """Floating point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def peak_bytes(run: Callable[[], Any], held: Iterable[Tensor]) -> int:
    """The most bytes that tensors take while ``run`` runs, those ``held`` from before included.

    On CUDA what the allocator gave out beyond that; elsewhere the tensors are followed from their making to their end, which
    leaves out what an operation needs inside itself.
    """
    held = list(held)
    device = held[0].device
    if device.type == "cuda":
        gc.collect()  # nothing of what was measured before is to be freed meanwhile
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
        return torch.cuda.max_memory_allocated(device) - before + sum(storages.values())
    with _LiveBytes(held) as live:
        run()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that are alive."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._known: set[int] = set()
        for tensor in held:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.current -= size


def _momentum(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [state["momentum_buffer"] for state in optimizer.state.values()]
