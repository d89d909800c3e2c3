"""One training step: run eagerly or compiled (and, in ``graph_step``, replayed from a CUDA graph).

All have one interface: ``begin_epoch()``, the call with a batch, ``means()`` of the losses since the epoch began, and ``mode``,
what is really done. Where compilation or capture is not possible the eager step is taken and one line says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sar_cls import messages
from sar_cls.steps.loss_meter import LossMeter

Batch = dict[str, Any]


class EagerStep:
    """mmengine's own ``train_step``: preprocessing, forward, backward, optimizer.

    Args:
        model: with ``train_step``.
        optim_wrapper: of the runner.
    """

    def __init__(self, model: Any, optim_wrapper: Any) -> None:
        self.model = model
        self.optim_wrapper = optim_wrapper
        self.meter = LossMeter()

    @property
    def mode(self) -> str:
        """What is really done: "eager", "compile", "cudagraph" or "compile+cudagraph"."""
        return "eager"

    def begin_epoch(self) -> None:
        """Starts the means anew. Call it when the model is in training mode."""
        self.meter.reset()

    def __call__(self, batch: Batch) -> None:
        """Trains on one batch of a ``DeviceLoader``. Nothing waits for the device."""
        self.meter.update(self.model.train_step(batch, optim_wrapper=self.optim_wrapper))

    def means(self) -> dict[str, float]:
        """Mean losses since the epoch began. Waits for the device."""
        return self.meter.means()


class CompiledStep(EagerStep):
    """Preprocessing, forward and backward by ``torch.compile``, in one piece; the optimizer's own kernels follow.

    One piece or nothing: a step that has to be split (it branches on a tensor's value, for example) would wait for the device at
    the split, so it is run eagerly as a whole. A last batch of another size is run eagerly too, which saves its compilation.

    Args:
        model: as for ``EagerStep``.
        optim_wrapper: as for ``EagerStep``.
        batch_size: of the batches to compile for.
        backend: of ``torch.compile``.
        say: prints a line.
    """

    def __init__(
        self,
        model: Any,
        optim_wrapper: Any,
        batch_size: int,
        backend: str = "inductor",
        say: Callable[[str], None] = messages.remark,
    ) -> None:
        super().__init__(model, optim_wrapper)
        self.batch_size = batch_size
        self.say = say
        self.failed = False
        self._tried = False

        def losses_of(batch: Batch) -> dict[str, Tensor]:
            return model(**model.data_preprocessor(batch, True), mode="loss")

        # What earlier runs of this process compiled counts towards dynamo's limit of recompilations.
        torch._dynamo.reset()
        self._losses_of = torch.compile(losses_of, fullgraph=True, dynamic=False, backend=backend)

    @property
    def mode(self) -> str:
        return "eager" if self.failed else "compile"

    def __call__(self, batch: Batch) -> None:
        if self.failed or len(batch["targets"]) != self.batch_size:
            super().__call__(batch)
        elif self._tried:
            self._train(batch)
        else:
            self._tried = True
            buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
            try:
                self._train(batch)
            except (
                Exception
            ) as error:  # of the compiler, or of the step itself: then it comes again from the eager step
                with torch.no_grad():
                    for buffer, before in buffers:  # the backward pass is compiled when the forward pass has run
                        buffer.copy_(before)
                self.optim_wrapper.zero_grad()
                self.failed = True
                self.say(f"training eagerly: torch.compile does not take this step ({first_line(error)})")
                super().__call__(batch)

    def _train(self, batch: Batch) -> None:
        with self.optim_wrapper.optim_context(self.model):
            losses = self._losses_of(batch)
        loss, log_vars = self.model.parse_losses(losses)
        self.optim_wrapper.update_params(loss)
        self.meter.update(log_vars)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
