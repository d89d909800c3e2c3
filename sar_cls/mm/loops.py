"""Training and evaluation over data that lies on the device: no worker, and no wait for the device inside a step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank, is_distributed
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop
from torch import Tensor

from sar_cls.data.rng import epoch_seed
from sar_cls.metrics import mean_class_accuracy, topk_accuracy
from sar_cls.mm.head import head_of
from sar_cls.mm.loaders import build_loader
from sar_cls.mm.processes import average_batch_norms, gathered, mean_over_processes, own_batches
from sar_cls.models.classifier_input import ClassifierInput
from sar_cls.models.classifiers import find_classifier
from sar_cls.steps.modes import DEFAULT_MODE, build_step
from sar_cls.steps.precision import autocast
from sar_cls.steps.step import EagerStep


@LOOPS.register_module()
class DeviceTrainLoop(BaseLoop):
    """Epochs over a ``DeviceLoader``; after each epoch the evaluation, then the checkpoint.

    Everything random in an epoch follows from (seed, epoch), so an epoch can be run again from its checkpoint. How a step is run,
    the runner's ``mode`` says (see :mod:`sar_cls.steps.modes`).

    Args:
        runner: the runner.
        dataloader: a ``DeviceLoader``, or a dict for :func:`sar_cls.mm.loaders.build_loader`.
        max_epochs: epochs in all.
        log_interval: steps between two readings of the losses for the progress line.
        counts_iterations: whether the recipe is one of iterations. An epoch is then what lies between two evaluations, and the
            history also says after how many iterations each was.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_epochs: int,
        log_interval: int = 50,
        counts_iterations: bool = False,
    ) -> None:
        if isinstance(dataloader, dict):
            dataloader = build_loader(dataloader, runner.device, seed=runner.seed)
        super().__init__(runner, dataloader)
        self._max_epochs = int(max_epochs)
        self._epoch = 0
        self._iter = 0
        self.log_interval = log_interval
        self.counts_iterations = counts_iterations
        self.stop_training = False
        self._step: EagerStep | None = None

    @property
    def step(self) -> EagerStep:
        """Runs one training step; there once the runner has its optimizer."""
        if self._step is None:
            runner = self.runner
            mode = getattr(runner, "mode", None) or DEFAULT_MODE
            loader = self.dataloader
            tensors = getattr(loader, "tensors", True)
            self._step = build_step(runner.model, runner.optim_wrapper, loader.batch_size, mode, tensors=tensors)
        return self._step

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Steps done."""
        return self._iter

    @property
    def max_epochs(self) -> int:
        """Epochs in all."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Steps in all."""
        return self._max_epochs * len(self.dataloader)

    def run(self) -> torch.nn.Module:
        """Trains to the last epoch."""
        runner = self.runner
        runner.call_hook("before_train")
        preprocessor = runner.bare_model.data_preprocessor
        if self.dataloader.draw is None and hasattr(preprocessor, "draw"):
            self.dataloader.draw = preprocessor.draw
        while self._epoch < self._max_epochs and not self.stop_training:
            row = self.run_epoch()
            started = time.perf_counter()
            row.update(runner.val_loop.run() if runner.val_loop is not None else {})
            row["seconds_eval"] = time.perf_counter() - started
            runner.call_hook("after_epoch", row=row)
        runner.call_hook("after_train")
        return runner.model

    def run_epoch(self) -> dict[str, Any]:
        """Trains one epoch and returns its row of the history."""
        runner = self.runner
        # For what draws inside the network (dropout, drop path): a function of (seed, epoch) like the rest, and of the process,
        # whose samples are others.
        torch.manual_seed(epoch_seed(runner.seed, self._epoch, "step", get_rank()))
        self.dataloader.set_epoch(self._epoch)
        head = head_of(runner.bare_model)
        loss: Any = getattr(head, "loss_module", None)
        if hasattr(loss, "set_epoch"):
            loss.set_epoch(self._epoch, self._max_epochs)
        runner.call_hook("before_train_epoch")
        runner.model.train()
        learning_rate = runner.optim_wrapper.get_lr()["lr"][0]
        step = self.step
        step.begin_epoch()
        started = time.perf_counter()
        for index, batch in enumerate(self.dataloader):
            step(batch)
            self._iter += 1
            losses = step.means() if (index + 1) % self.log_interval == 0 else None
            # Outputs stay out of this call: mmengine's hooks would turn every loss into a number at every step.
            runner.call_hook("after_train_iter", batch_idx=index, data_batch=None, outputs=None)
            if losses is not None:
                self._check_finite(losses)
                runner.call_hook("after_log_interval", batch_idx=index, losses=losses)
        losses = step.means()  # waits for the device, so the time below is the whole epoch's
        seconds = time.perf_counter() - started
        self._check_finite(losses)
        if is_distributed():
            average_batch_norms(runner.bare_model)
        runner.call_hook("after_train_epoch")
        self._epoch += 1
        row: dict[str, Any] = {"epoch": self._epoch}
        if self.counts_iterations:
            row["iteration"] = self._iter
        row |= {"lr": learning_rate, **losses, "seconds_train": seconds, "images": self.dataloader.num_samples}
        regularizer: Any = getattr(head, "regularizer", None)
        if hasattr(regularizer, "diagnostics"):
            figures = regularizer.diagnostics(reset=True)
            row.update(mean_over_processes(figures, runner.device) if figures and is_distributed() else figures)
        return row

    def _check_finite(self, losses: dict[str, float]) -> None:
        """Ends a run that cannot recover before its checkpoint is written, so that it can go on from the one before.

        Raises:
            RuntimeError: a loss is not finite.
        """
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        if wrong:
            parts = [name for name in wrong if name != "loss"] or wrong
            raise RuntimeError(
                f"the network has diverged in epoch {self._epoch + 1}, not finite: {', '.join(parts)}; lower the learning rate or "
                "mend what computes that, the same command goes on from the last whole epoch"
            )


@torch.inference_mode()
def predict(model: Any, loader: Any, precision: str, *, shared: bool = False) -> Tensor:
    """Test logits of a whole image set, in its order: float32 [n, C] on the loader's device.

    Args:
        model: a classifier without a wrapper.
        loader: goes through the set.
        precision: of the evaluation.
        shared: whether all processes of the run evaluate a part each; all of them get the whole.
    """
    model.eval()
    outputs = []
    for batch in _batches(loader, shared):
        with autocast(batch["inputs"].device, precision):
            data = model.data_preprocessor(batch, False)
            outputs.append(model(data["inputs"], mode="tensor").float())
    return _whole(outputs, loader, shared)


@torch.inference_mode()
def predict_with_features(model: Any, loader: Any, precision: str, *, shared: bool = False) -> tuple[Tensor, Tensor]:
    """Logits as :func:`predict` gives them, and what entered the classifier: float32 [n, C] and [n, D] on the loader's device."""
    model.eval()
    classifier_input = ClassifierInput(find_classifier(model, "head.fc"))
    logits, features = [], []
    try:
        for batch in _batches(loader, shared):
            with autocast(batch["inputs"].device, precision):
                data = model.data_preprocessor(batch, False)
                output, entered, _ = classifier_input.of(model, data["inputs"], mode="tensor")
            logits.append(output.float())
            features.append(entered.float())
    finally:
        classifier_input.remove()
    return _whole(logits, loader, shared), _whole(features, loader, shared)


def _batches(loader: Any, shared: bool) -> Iterator[dict[str, Any]]:
    # Where there are fewer batches than processes, one without any takes the first, to know what the rows are like.
    return loader.batches(own_batches(len(loader)) or range(1)) if shared else iter(loader)


def _whole(outputs: list[Tensor], loader: Any, shared: bool) -> Tensor:
    rows = torch.cat(outputs)
    return gathered(rows, loader.batch_size, loader.num_samples) if shared else rows


@LOOPS.register_module()
class DeviceValLoop(BaseLoop):
    """Accuracy over one or several whole image sets held on the device.

    Args:
        runner: the runner.
        dataloader: ``{"test": loader, ...}``, loaders that do not shuffle. The columns of the history are named after the keys.
        evaluator: ignored; mmengine passes it.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any = None) -> None:
        if isinstance(dataloader, dict) and "dataset" in dataloader:
            dataloader = {"test": build_loader(dataloader, runner.device, train=False)}
        # mmengine would take a dict of loaders for a config to build.
        super().__init__(runner, list(dataloader.values()))
        self.loaders = dict(dataloader)

    def run(self) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent, as ``<set>_top1`` and ``<set>_top5``; of validation images also their classes' mean
        accuracy, ``val_macro``, by which the runner of a classifier picks its best epoch there.
        """
        runner = self.runner
        runner.call_hook("before_val")
        metrics: dict[str, float] = {}
        for name, loader in self.loaders.items():
            logits = predict(runner.bare_model, loader, runner.precision, shared=is_distributed())
            labels = loader.image_set.labels.to(logits.device)
            for k in (1, 5):
                metrics[f"{name}_top{k}"] = float(topk_accuracy(logits, labels, min(k, logits.shape[1])))
            if name == "val":
                metrics["val_macro"] = mean_class_accuracy(logits, labels)
        runner.call_hook("after_val")
        return metrics
