"""mmengine's Runner on one named device, with this project's checkpoints."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sar_cls.mm.processes import wrapped
from sar_cls.mm.resume import restore
from sar_cls.models import use_virtual_batches
from sar_cls.models.sync_batch_norm import SynchronizedBatchNorm, synchronize_batch_norms
from sar_cls.regularizers.base import Regularizer
from sar_cls.runs.folder import LAST
from sar_cls.whole_batch import use_whole_batch


class _NoVisualizer:
    """Takes what mmengine gives a visualizer, and keeps none of it."""

    dataset_meta: Any = None

    def add_config(self, config: Any, **kwargs: Any) -> None:
        pass

    def add_scalars(self, scalars: dict[str, float], **kwargs: Any) -> None:
        pass

    def close(self) -> None:
        pass


def close_log(experiment_name: str) -> None:
    """Closes the log of a run, which mmengine would hold open for as long as the process lives, and forgets its messages."""
    logger = MMLogger._instance_dict.pop(experiment_name, None)
    for handler in [] if logger is None else list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    MessageHub._instance_dict.pop(experiment_name, None)
    # mmengine keeps the scope of a name for good: a later run of that name, of the other kind of nets, would be built in it.
    DefaultScope._instance_dict.pop(experiment_name, None)


def _regularizers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, Regularizer)]


@RUNNERS.register_module()
class DeviceRunner(Runner):
    """A Runner that trains on ``device`` and resumes from ``last.pth`` of its own work directory, if that is there.

    Args:
        device: where model and data live, for example "cpu" or "cuda:0".
        precision: "fp32" or "bf16", for the evaluation; training has it from its optimizer wrapper.
        mode: how a step is run, see :mod:`sar_cls.steps.modes`; None is the device's default.
        memory_format: of the convolutions' weights, "channels_last" or "contiguous"; the batches should have the same.
        bn_batch: images that batch norm of the backbone normalises together; None for whole batches.
        sync_bn: of several processes, whether batch norm normalises their batches together.
        local_statistics: of several processes, whether losses and regularizers take their statistics over the part of each.
        prepare: is given the built model, whatever the number of processes.
        tell: of several processes without ``local_statistics``, tells losses and regularizers of the built model so.
        selection: the image set that picks the best epoch: "test", as published, or "val".
        headline: the metric of which the highest is the best, "top1", "macro" (the classes' mean accuracy) or "miou".
        identity: what a checkpoint must agree on to be resumed (see :mod:`sar_cls.mm.checkpoint`).
        initialize: is given the initialized model where there is nothing to resume, to put other weights in.
        **kwargs: as for ``Runner``.
    """

    def __init__(
        self,
        *,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        mode: str | None = None,
        memory_format: str = "channels_last",
        bn_batch: int | None = None,
        sync_bn: bool = False,
        local_statistics: bool = False,
        prepare: Callable[[nn.Module], object] | None = None,
        tell: Callable[[nn.Module], object] = use_whole_batch,
        selection: str = "test",
        headline: str = "top1",
        identity: dict[str, str] | None = None,
        initialize: Callable[[nn.Module], None] | None = None,
        **kwargs: Any,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.mode = mode
        self.memory_format = memory_format
        self.bn_batch = bn_batch
        self.sync_bn = sync_bn
        self.local_statistics = local_statistics
        self.prepare = prepare
        self.tell = tell
        self.selection = selection
        self.headline = headline
        self.identity = identity or {}
        self.initialize = initialize
        self._has_loaded = False
        # A row an epoch; goes into the checkpoint, so that a resumed run has the whole of it.
        self.history: list[dict[str, Any]] = []
        # Stays the run's when it is resumed, also after its record was lost: a second stage knows its first one by it.
        self.run_id = uuid.uuid4().hex
        # The best epoch is looked for from this one on: 1, unless best.pth was lost (see sar_cls.mm.resume).
        self.best_from = 1
        self.best_is_ahead = False  # best.pth is of the epoch that comes next, after a kill between the two checkpoints
        self.threads_used = [torch.get_num_threads()]  # in the order of the starts, a resumed run can have several
        self.cpu_capabilities_used = [torch.backends.cpu.get_cpu_capability()]  # likewise: "AVX2", "AVX512" ...
        self.processes_used = [get_world_size()]  # likewise
        try:
            super().__init__(**kwargs)
        except BaseException:  # the log is open before the network is built
            close_log(getattr(self, "_experiment_name", ""))
            raise

    @property
    def timestamp(self) -> str:
        """mmengine makes a log folder per start, named by time; here a run has one, "log", however often it is resumed."""
        return "log"

    @property
    def bare_model(self) -> nn.Module:
        """The model without a distributed wrapper."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    @property
    def norm_images(self) -> int | None:
        """Images that a batch norm normalises together; None for a net without. Those of regularizers see no images."""
        apart = {id(module) for part in _regularizers(self.bare_model) for module in part.modules()}
        norms = [
            module for module in self.bare_model.modules() if isinstance(module, _BatchNorm) and id(module) not in apart
        ]
        if not norms:
            return None
        batch = self.train_dataloader.batch_size
        is_whole = all(isinstance(norm, (nn.SyncBatchNorm, SynchronizedBatchNorm)) for norm in norms)
        return self.bn_batch or (batch if is_whole else batch // self.world_size)

    @property
    def statistics_parts(self) -> int:
        """Parts of a batch of which losses and regularizers take statistics of their own; 1 where they are those of the whole."""
        return self.world_size if self.local_statistics else 1

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Puts virtual or synchronised batch norms into the built net, where the run or the net asks for them; a regularizer's own
        see no images. Of several processes, losses and regularizers are told to look at the whole batch."""
        built: Any = super().build_model(model)
        if self.bn_batch is not None:
            use_virtual_batches(built.backbone, self.bn_batch)
        # torch's SyncBatchNorm, which many segmentation nets ask for, synchronises by itself, and on GPUs alone.
        if self.distributed and (self.sync_bn or self.device.type == "cpu"):
            apart = _regularizers(built)
            synchronize_batch_norms(built, self.device, apart=apart, only_asked=not self.sync_bn)
        if self.prepare is not None:
            self.prepare(built)
        if self.distributed and not self.local_statistics:
            self.tell(built)
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to the device and gives its weights the memory format of the batches. The wrapper for several processes
        follows when all weights are in it (:meth:`load_or_resume`): it sends around those of the first process."""
        layout = torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format
        return model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]

    def _init_model_weights(self) -> None:
        """On the CPU, whatever the device: a seed means the same initial weights everywhere.

        Not where ``last.pth`` is there, which holds all of them: published ones would be fetched again.
        """
        if (Path(self.work_dir) / LAST).exists():
            return
        self.bare_model.to("cpu")
        if hasattr(self.bare_model, "init_weights"):
            self.bare_model.init_weights()  # type: ignore[operator]
        self.bare_model.to(self.device)

    def load_or_resume(self) -> None:
        """Resumes from ``last.pth`` if there is one, else starts from the initial weights that were given, if any."""
        if not self._has_loaded:
            checkpoint = Path(self.work_dir) / LAST
            if checkpoint.exists():
                restore(self, checkpoint)
            elif self.initialize is not None:
                self.initialize(self.bare_model)
            self._has_loaded = True
            if self.distributed:
                self.model = wrapped(self.bare_model, self.device, self.cfg.get("find_unused_parameters", False))

    def best_epoch(self) -> int:
        """The first epoch, from 1, with the highest headline metric on the selection set; of those from ``best_from`` on."""
        return self._best_of(self.history[self.best_from - 1 :])

    @property
    def lost_best_epoch(self) -> int | None:
        """The best epoch of all, where its weights were lost with ``best.pth`` and no later epoch was better; else None."""
        best = self._best_of(self.history)
        return None if best == self.best_epoch() else best

    @property
    def selects_by(self) -> str:
        """The column of the history whose highest value is the best epoch's."""
        return f"{self.selection}_{self.headline}"

    def _best_of(self, rows: list[dict[str, Any]]) -> int:
        best = max(rows, key=lambda row: row[self.selects_by])
        return int(best["epoch"])

    def close(self) -> None:
        """Gives back the log file and what else mmengine keeps of every run of a process."""
        self.visualizer.close()
        close_log(self.experiment_name)

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """Without a backend to write to, a stand-in: mmengine's visualizer imports matplotlib and opens a figure."""
        if visualizer and visualizer.get("vis_backends"):
            return super().build_visualizer(visualizer)
        return _NoVisualizer()

    def dump_config(self) -> None:
        """Left to the engine, which writes it as ``config.py`` whatever the row's file is called."""

    def _log_env(self, env_cfg: dict) -> None:
        """mmengine runs several compilers here to print their versions; the record of a run has what matters."""
