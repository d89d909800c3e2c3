"""Whether several processes can train a run together."""

from __future__ import annotations

from sar_cls import ranks
from sar_cls.engine.planned import PlannedRun
from sar_cls.errors import InputError


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
