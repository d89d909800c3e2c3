"""One run from its config to its record: what to run, whether it still has to run, and under which lock."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock

from sar_cls.engine import closed_form as posthoc
from sar_cls.engine import training
from sar_cls.engine.first_stage import FirstStage, like_first_stage
from sar_cls.engine.options import Options, check_seed, threads, usable_device
from sar_cls.engine.recipe import fit_to_data, resolve
from sar_cls.errors import InputError, RunFailed, RunLocked
from sar_cls.mm.checkpoint import LAST
from sar_cls.mm.config_values import check_batch
from sar_cls.mm.loaders import DataSplits, load_splits
from sar_cls.mm.memory import allocating
from sar_cls.runs import record
from sar_cls.steps.precision import precision_of


@dataclass
class DataCache:
    """The image sets of the last run of this process, so that a suite reads them once."""

    sets: dict[str, DataSplits] = field(default_factory=dict)

    def get(self, config: dict[str, Any], options: Options) -> DataSplits:
        """The splits that a config's ``train_dataloader.dataset`` names."""
        key = repr((sorted(config.items()), options.data_root, options.val_fraction))
        if key not in self.sets:
            self.sets.clear()  # one data set at a time in memory
            self.sets[key] = load_splits(
                config, options.data_root, download=options.download, val_fraction=options.val_fraction
            )
        return self.sets[key]


@dataclass(frozen=True)
class Job:
    """A row of a suite with one seed: everything that says which run it is."""

    suite: str
    row: str
    config: Path
    seed: int
    run_dir: Path
    stage1_dir: Path | None = None
    title: str = ""


def run(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any]:
    """Trains, or resumes, or passes over what is finished; returns the record.

    Raises:
        InputError: bad config, data or checkpoint; nothing was written or lost.
        RunLocked: another process is at this run, or at the first stage that it waits for.
        RunFailed: there was not enough memory, or the config's own code ended the run.
    """
    options = replace(options, device=usable_device(options.device))
    check_seed(job.seed)
    with threads(options.threads), _no_exit(job):
        return _run(job, options, cache or DataCache())


@contextmanager
def _no_exit(job: Job) -> Iterator[None]:
    """A config is a program, and so is what it registers; one that ends the process ends its own run only."""
    try:
        yield
    except SystemExit as error:
        raise RunFailed(
            f"the code of {job.config} or of what it imports ended the run by sys.exit({error.code!r}): take that call out"
        ) from error


def _run(job: Job, options: Options, cache: DataCache) -> dict[str, Any]:
    done = finished(job, options, cache)
    if done is not None:
        return done
    second_stage = job.stage1_dir is not None
    resolved = resolve(job.config, options, second_stage=second_stage)
    if job.stage1_dir is not None:
        if not record.is_finished(job.stage1_dir) and _is_locked(job.stage1_dir):
            raise RunLocked(f"{job.title or job.run_dir}: another process is at its first stage, passed over")
        resolved = like_first_stage(resolved, job.stage1_dir)
        options = replace(options, val_fraction=resolved.overrides.get("val_fraction"))
    with allocating("reading the images", "use fewer or smaller ones"):
        splits = cache.get(resolved.config.train_dataloader.dataset.to_dict(), options)
    with allocating("building the backbone", "use a smaller one"):
        fit_to_data(resolved, splits, job.config.name, second_stage=second_stage)
    if not second_stage:  # which may draw an image more than once
        check_batch(resolved, len(splits.train), job.config.name)
    stage1 = None if job.stage1_dir is None else FirstStage.read(job.stage1_dir, splits)
    fresh = not job.run_dir.exists()
    job.run_dir.mkdir(parents=True, exist_ok=True)
    try:
        # Another process may only be looking whether this run is locked, which takes it no time.
        lock = filelock.FileLock(job.run_dir / ".lock").acquire(timeout=0.5)
    except filelock.Timeout:
        raise RunLocked(f"{job.title or job.run_dir}: another process is at this run, passed over") from None
    with lock:
        if record.is_finished(job.run_dir):  # the other process ended between the look and the lock
            return record.read_record(job.run_dir)
        for leftover in job.run_dir.glob(".*.tmp"):
            leftover.unlink()
        method = posthoc if resolved.config.get("posthoc") else training
        try:
            result = method.execute(job, options, resolved, splits, stage1)
        except InputError:
            if fresh and not (job.run_dir / LAST).exists():  # bad weights, say: no epoch was trained that could be lost
                shutil.rmtree(job.run_dir, ignore_errors=True)
                with suppress(OSError):  # not empty: other runs of the row, other rows
                    job.run_dir.parent.rmdir()
                    job.run_dir.parent.parent.rmdir()
            raise
        result["stage1"] = None if stage1 is None else record.stage1_reference(stage1.record)
        record.write_record(job.run_dir, result)
    return record.read_record(job.run_dir)


def finished(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any] | None:
    """The record of a run that is finished, None where it is not.

    Raises:
        InputError: the folder holds a finished run of another recipe than the one that is asked for.
    """
    if not record.is_finished(job.run_dir):
        return None
    found = record.read_record(job.run_dir)
    resolved = resolve(job.config, options, second_stage=job.stage1_dir is not None)
    first = job.stage1_dir
    if first is not None and record.is_finished(first):
        resolved = like_first_stage(resolved, first)
    expected: dict[str, Any] = {
        "config_hash": resolved.recipe,
        "epochs": resolved.epochs,
        "precision": precision_of(resolved.config),
    }
    if first is None or record.is_finished(first):
        expected["overrides"] = resolved.overrides
    differing = [name for name, value in expected.items() if found[name] != value]
    if first is not None and record.is_finished(first):
        if found["stage1"]["run_id"] != record.read_record(first)["run_id"]:
            differing.append("first stage")
    elif resolved.overrides.get("dataset") == "folder":  # one folder is as good as another, by its name
        splits = (cache or DataCache()).get(resolved.config.train_dataloader.dataset.to_dict(), options)
        if found["data_fingerprint"]["train"] != splits.train.fingerprint:
            differing.append("training images")
    if differing:
        what = ", ".join(name.replace("_", " ") for name in differing)
        raise InputError(
            f"{job.run_dir} holds a finished run with another {what} than is asked for: move it away, or use another --work-dir"
        )
    return found


def _is_locked(folder: Path) -> bool:
    """Whether a process is at the run in ``folder``."""
    if not (folder / ".lock").exists():
        return False
    try:
        with filelock.FileLock(folder / ".lock").acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
