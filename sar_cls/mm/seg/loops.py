"""Evaluation of segmentation nets: a confusion matrix, summed up batch by batch on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_distributed
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop
from torch import Tensor

from sar_cls.data.masked_set import VOID
from sar_cls.metrics.segmentation import ConfusionMatrix, evaluate_segmentation
from sar_cls.mm.processes import gathered, own_batches
from sar_cls.mm.seg.pipelines import PipelineLoader
from sar_cls.steps.precision import autocast


@torch.inference_mode()
def predictions(model: Any, loader: Any, precision: str, steps: range | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Predicted and true class of every pixel, batch by batch; the logits of one batch are all that is in memory.

    Args:
        model: an mmseg segmentor, with ``test_cfg`` "whole" or "slide".
        loader: a ``DeviceLoader`` over a set with masks, or a ``PipelineLoader``.
        precision: "fp32" or "bf16".
        steps: which of the loader's batches; None for all.

    Yields:
        Predictions int64 [N, H, W] and masks [N, H, W], 255 where a pixel has no class, at the masks' own resolution.
    """
    model.eval()
    for batch in loader if steps is None else loader.batches(steps):
        if isinstance(loader, PipelineLoader):
            with autocast(loader.device, precision):
                data = model.data_preprocessor(batch, False)
                samples = model(**data, mode="predict")
            for sample in samples:
                yield sample.pred_sem_seg.data, sample.gt_sem_seg.data.to(sample.pred_sem_seg.data.device)
            continue
        with autocast(batch["inputs"].device, precision):
            inputs = model.data_preprocessor(batch, False)["inputs"]
            shape = tuple(inputs.shape[2:])
            metas = [dict(ori_shape=shape, img_shape=shape, pad_shape=shape, padding_size=[0, 0, 0, 0])] * len(inputs)
            logits = model.inference(inputs, metas)
        # The first largest, as argmax gives it, which takes four times as long on the CPU.
        yield logits.float().max(dim=1).indices, batch["targets"]


def confusion_matrix(
    model: Any,
    loader: Any,
    precision: str,
    num_classes: int,
    keep: list[Tensor] | None = None,
    *,
    shared: bool = False,
) -> np.ndarray:
    """int64 [C, C]: pixels of true class (row) by predicted class (column); pixels without a class are left out.

    Args:
        model: as for :func:`predictions`.
        loader: likewise.
        precision: likewise.
        num_classes: C.
        keep: takes the predictions of each batch, uint8 [N, H, W] on the CPU; where they are shared those of all, [n, H, W], for
            sets whose images are of one size.
        shared: whether all processes of the run evaluate a part each; all of them get the whole.
    """
    counts, own = ConfusionMatrix(num_classes, VOID, loader.device), []
    for predicted, true in predictions(model, loader, precision, own_batches(len(loader)) if shared else None):
        counts.update(predicted, true.to(torch.int64))
        if keep is not None:
            own.append(predicted.to(torch.uint8).cpu())
    if shared:
        counts.sum_over_processes()
    if keep is not None and shared:
        nothing = torch.empty(0, *loader.image_set.image_size, dtype=torch.uint8)  # fewer batches than processes
        own = [gathered(torch.cat([nothing, *own]), loader.batch_size, loader.num_samples)]
    if keep is not None:
        keep += own
    return counts.counts


@LOOPS.register_module()
class DenseValLoop(BaseLoop):
    """mIoU over whole image sets; while training over the one that the best epoch is chosen on.

    Args:
        runner: the runner.
        dataloader: ``{"test": loader, ...}``, loaders that do not shuffle. The columns of the history are named after the keys.
        evaluator: ignored; mmengine passes it.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any = None) -> None:
        # mmengine would take a dict of loaders for a config to build.
        super().__init__(runner, list(dataloader.values()))
        self.loaders = dict(dataloader)

    def run(self) -> dict[str, float]:
        """Mean IoU and the share of pixels classified right, in percent, as ``<set>_miou`` and ``<set>_pixel_accuracy``."""
        runner = self.runner
        runner.call_hook("before_val")
        name = runner.selection
        model = runner.bare_model
        matrix = confusion_matrix(
            model, self.loaders[name], runner.precision, model.num_classes, shared=is_distributed()
        )
        found = evaluate_segmentation(matrix)
        runner.call_hook("after_val")
        return {f"{name}_miou": found["miou"], f"{name}_pixel_accuracy": found["pixel_accuracy"]}
