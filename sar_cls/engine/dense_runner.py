"""What a runner of a segmentation net has otherwise than one of a classifier: loaders, loops, scope."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info

from sar_cls.engine import dense
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.schedule import counts_iterations, interval, shorten
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits, test_loader, train_loader

# Names of the selection's metric.
HEADLINE = "miou"


def parts(planned: PlannedRun, config: Config, splits: DataSplits, device: torch.device) -> dict[str, Any]:
    """The runner's arguments, with the schedule of ``config`` shortened, in place, to what is run.

    A recipe of iterations is trained in epochs of ``val_interval`` batches of an endless order, each followed by an evaluation and
    a checkpoint: what an epoch is to a classifier.

    Raises:
        InputError: the recipe counts epochs.
    """
    if not counts_iterations(config):
        raise InputError(
            f"{planned.source}: a segmentation net is trained by iterations; give train_cfg max_iters and val_interval"
        )
    from sar_cls.mm.seg.losses import count_on_the_device, use_whole_batch_of_pixels

    steps = interval(config, planned.epochs)
    shorten(config, planned.epochs, 1)
    sets = {"test": splits.test} if splits.val is None else {"val": splits.val, "test": splits.test}
    if config.optim_wrapper.get("type", "OptimWrapper") == "OptimWrapper":
        config.optim_wrapper["type"] = "AutocastOptimWrapper"  # the same, and it knows --precision
    if dense.uses_pipelines(config):
        from sar_cls.mm.seg.pipelines import PipelineLoader

        workers = config.train_dataloader.get("num_workers", 0)
        loader: Any = PipelineLoader(
            splits.train,
            config.train_dataloader.batch_size,
            seed=planned.seed,
            batches_per_epoch=steps,
            num_workers=workers,
            device=device,
            part=get_dist_info(),
        )
        tests: dict[str, Any] = {
            name: PipelineLoader(part, config.val_dataloader.batch_size, num_workers=workers, device=device)
            for name, part in sets.items()
        }
    else:
        loader = train_loader(splits.train, config.train_dataloader, planned.seed, device, steps, get_dist_info())
        tests = {name: test_loader(part, config.val_dataloader, device) for name, part in sets.items()}
    return dict(
        train_dataloader=loader,
        train_cfg=dict(type="DeviceTrainLoop", max_epochs=planned.epochs // steps, counts_iterations=True),
        val_dataloader=tests,
        val_cfg=dict(type="DenseValLoop"),
        headline=HEADLINE,
        prepare=count_on_the_device,
        tell=use_whole_batch_of_pixels,
        default_scope="mmseg",
    )
