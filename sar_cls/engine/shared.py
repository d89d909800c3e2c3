"""Whether several processes can train a run together, and whether a finished one was trained as they would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sar_cls import ranks
from sar_cls.engine.planned import PlannedRun
from sar_cls.errors import InputError
from sar_cls.runs.folder import LAST


def check_started(runs: Iterable[PlannedRun]) -> None:
    """Refuses options of several processes outside torchrun, where they would change nothing.

    A run that several processes have begun may go on in a single one, with the options that it had.

    Args:
        runs: of one command line.

    Raises:
        InputError: there is such an option, and none of the runs was begun.
    """
    runs = list(runs)
    if ranks.by_torchrun() or any((run.run_dir / LAST).exists() for run in runs):
        return
    for run in runs:
        for option, given in (("--sync-bn", run.options.sync_bn), ("--local-statistics", run.options.local_statistics)):
            if given:
                raise InputError(
                    f"{option} is for several processes of one run: leave it out, or start them by torchrun"
                )


def check_shared(planned: PlannedRun) -> None:
    """Refuses what several processes cannot train together; a single one, and what trains nothing, is never refused.

    Raises:
        InputError: a mode other than the eager one, a batch that cannot be cut into equal parts, or a batch
            norm that fits no part.
    """
    processes, config, options = ranks.processes(), planned.config, planned.options
    if processes == 1 or config.get("posthoc"):
        return
    row = f"{planned.suite}/{planned.row}"
    if options.mode not in (None, "eager"):
        raise InputError(f"--mode {options.mode} is for one process: leave it out under torchrun")
    batch = config.train_dataloader.batch_size
    if batch % processes:
        raise InputError(
            f"{row} trains on batches of {batch} images, which {processes} processes cannot share evenly: give torchrun another "
            "--nproc-per-node"
        )
    virtual = config.get("bn_batch")
    if virtual is not None and options.sync_bn:
        raise InputError(
            f"{row}: batch norm is over {virtual} images each or over the whole batch: leave --sync-bn or bn_batch out"
        )
    if virtual is not None and (batch // processes) % virtual:
        raise InputError(
            f"{row}: the {batch // processes} images of a process cannot be cut into virtual batches of {virtual}: give torchrun "
            "another --nproc-per-node, or another --bn-batch"
        )


def check_parts(planned: PlannedRun, record: Mapping[str, Any]) -> None:
    """Refuses a finished run whose processes had other parts of a batch than would be had now: tables take it for another recipe.

    What one process has trained does not say whether the net has a batch norm; it is taken as it is but for the statistics.

    Args:
        planned: the run that is asked for, with its first stage.
        record: of the finished run.

    Raises:
        InputError: statistics of losses and regularizers, or batch norms, were over other parts.
    """
    processes, config, options = ranks.processes(), planned.config, planned.options
    if config.get("posthoc"):
        return
    said = (record.get("extra") or {}).get("distributed") or {"processes": 1}
    parts = processes if options.local_statistics else 1
    parts_then = said["processes"] if said.get("local_statistics") else 1
    remedy = "ask for it with as many processes, --sync-bn and --local-statistics as then, move it away, or use another --work-dir"
    if parts_then != parts:
        raise InputError(
            f"{planned.run_dir} holds a finished run whose losses and regularizers took their statistics over 1/{parts_then} of "
            f"a batch, and now it would be 1/{parts}: {remedy}"
        )
    batch, images_then = config.train_dataloader.batch_size, said.get("batch_norm_images")
    if images_then is None or (images_then == batch and not said["sync_bn"]):
        return  # a net without batch norm, or one that synchronises them by itself
    images = config.get("bn_batch") or (batch if options.sync_bn else batch // processes)
    if images_then != images:
        raise InputError(
            f"{planned.run_dir} holds a finished run whose batch norm saw {images_then} images at a time, and now it would see "
            f"{images}: {remedy}"
        )
