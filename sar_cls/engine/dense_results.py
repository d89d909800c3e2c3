"""What is left of a run of a segmentation net: predictions, IoU of each class, and the fields of its record."""

from __future__ import annotations

from typing import Any

import torch

from sar_cls.engine import dense
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.results import record_fields
from sar_cls.metrics.segmentation import evaluate_segmentation
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs.dense_outputs import Evaluated, write_dense_outputs
from sar_cls.runs.per_class import write_dense_per_class


def evaluate(runner: Any) -> dict[str, Evaluated]:
    """The confusion matrix of each set that is evaluated, by its name; of the test set the predictions as well."""
    from sar_cls.mm.seg.loops import confusion_matrix
    from sar_cls.mm.seg.pipelines import PipelineLoader

    found, model = {}, runner.bare_model
    for split, loader in runner.val_loop.loaders.items():
        # mmseg's data sets have images of many sizes, and too many of them.
        kept: list[torch.Tensor] | None = [] if split == "test" and not isinstance(loader, PipelineLoader) else None
        matrix = confusion_matrix(model, loader, runner.precision, model.num_classes, kept, shared=runner.distributed)
        found[split] = Evaluated(matrix, None if not kept else torch.cat(kept).numpy())
    return found


def outcome(
    planned: PlannedRun,
    splits: DataSplits,
    said: dict[str, dict[str, Evaluated]],
    device: torch.device,
    precision: str,
    history: list[dict[str, Any]],
    best_epoch: int,
) -> dict[str, Any]:
    """Saves predictions and IoU of each class, and returns the fields of the record.

    Args:
        planned: the run.
        splits: its images.
        said: of the "test" set and, where there is one, of the "val" split: what was found at the "last" and "best" epoch.
        device: where it ran.
        precision: how.
        history: a row an interval.
        best_epoch: number of the best interval, from 1.
    """
    classes, test = splits.test.classes, said["test"]
    fields = record_fields(planned, splits, device, precision, history)
    figures: dict[str, dict[str, Any]] = {
        epoch: evaluate_segmentation(found.confusion, fields["train_counts"], classes) for epoch, found in test.items()
    }
    for epoch, found in said.get("val", {}).items():
        figures[epoch]["val_miou"] = evaluate_segmentation(found.confusion)["miou"]
    write_dense_outputs(planned.run_dir, test, splits.test)
    write_dense_per_class(planned.run_dir, fields["train_counts"], classes, test)
    return {
        **fields,
        "method": dense.method_of(planned.config),
        "backbone": dense.net_name(planned.config),
        "metrics": figures,
        "best_epoch": history[best_epoch - 1]["iteration"],
    }
