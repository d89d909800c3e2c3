"""One run from its config to its record: what to run, whether it still has to run, and under which lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import filelock
import torch

from sar_cls import messages
from sar_cls.engine import closed_form as posthoc
from sar_cls.engine import training
from sar_cls.engine.job import Job
from sar_cls.engine.net_checks import check_net
from sar_cls.engine.options import Options, check_seed, threads, usable_device
from sar_cls.engine.own_code import import_own_code
from sar_cls.engine.planned import PlannedRun, after_first_stage, fit, plan
from sar_cls.engine.shared import check_parts, check_shared
from sar_cls.engine.team import team
from sar_cls.errors import InputError, RunFailed, RunLocked
from sar_cls.files import check_file, check_folder, refusing
from sar_cls.memory import allocating
from sar_cls.mm.handover import has_handover
from sar_cls.mm.loaders import IMAGES, DataSplits, load_splits
from sar_cls.runs import folder, record
from sar_cls.runs.folder import LAST


@dataclass
class DataCache:
    """The image sets of the last run of this process, so that a suite reads them once; and the fingerprints of all so far."""

    sets: dict[str, DataSplits] = field(default_factory=dict)
    known: dict[str, dict[str, str] | None] = field(default_factory=dict)

    def get(self, config: dict[str, Any], options: Options) -> DataSplits:
        """The splits that a config's ``train_dataloader.dataset`` names."""
        key = self._key(config, options)
        if key not in self.sets:
            self.sets.clear()  # one data set at a time in memory
            with refusing(options.data_root, "give another --data-root"):
                self.sets[key] = load_splits(
                    config, options.data_root, download=options.download, val_fraction=options.val_fraction
                )
        return self.sets[key]

    def put(self, config: dict[str, Any], options: Options, splits: DataSplits) -> None:
        """Has these splits taken where a config names them, instead of reading any."""
        self.sets.clear()
        self.sets[self._key(config, options)] = splits

    def fingerprints(self, config: dict[str, Any], options: Options) -> dict[str, str] | None:
        """The fingerprints of the splits, each set read once a process; None, after one line on stderr, where the images are not
        here, cannot be used, or would first have to be decoded for minutes."""
        key = self._key(config, options)
        if key not in self.known:
            try:
                if key not in self.sets:
                    self.sets.clear()
                    with refusing(options.data_root):
                        self.sets[key] = load_splits(
                            config, options.data_root, val_fraction=options.val_fraction, build_cache=False
                        )
                self.known[key] = self.sets[key].fingerprints
            except InputError as error:
                messages.remark(f"finished runs are not compared with the images: {error}")
                self.known[key] = None
        return self.known[key]

    @staticmethod
    def _key(config: dict[str, Any], options: Options) -> str:
        return repr((sorted(config.items()), options.data_root, options.val_fraction))


def run(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any]:
    """Plans a run and runs it: :func:`run_planned`.

    Raises:
        InputError, RunLocked, RunFailed: as there, and bad config.
    """
    return run_planned(plan(job, options), cache)


def run_planned(planned: PlannedRun, cache: DataCache | None = None) -> dict[str, Any]:
    """Trains, or resumes, or passes over what is finished; returns the record.

    Raises:
        InputError: bad config, data or checkpoint; nothing was written or lost.
        RunLocked: another process is at this run, or at the first stage that it waits for.
        RunFailed: there was not enough memory, or the config's own code ended the run.
    """
    planned = planned.on(device=usable_device(planned.options.device))
    check_seed(planned.seed)
    check_shared(planned)
    with threads(planned.options.threads), _no_exit(planned):
        # What a config imports was imported where it was read, and this process may have been handed the plan by that one.
        import_own_code(planned.config, planned.source)
        return _run(planned, cache or DataCache())


@contextmanager
def _no_exit(planned: PlannedRun) -> Iterator[None]:
    """What a config registers is a program; one that ends the process ends its own run only.

    A config that does so itself is refused when it is read, and that is before the first run of a suite.
    """
    try:
        yield
    except SystemExit as error:
        raise RunFailed(
            f"the code of {planned.source} or of what it imports ended the run by sys.exit({error.code!r}): take that call out"
        ) from error


def _run(planned: PlannedRun, cache: DataCache) -> dict[str, Any]:
    done = finished(planned, cache)
    if done is not None:
        return done
    first, run_dir = planned.stage1_dir, planned.run_dir
    if first is not None and not record.is_finished(first) and folder.is_locked(first):
        raise RunLocked(f"{planned.title}: another process is at its first stage, passed over")
    asked, planned = planned, after_first_stage(planned)
    check_shared(planned)  # again: a first stage brings its batch norm along
    if first is None and not (run_dir / LAST).exists():  # a run that is resumed has its weights
        check_net(planned)
    with allocating("reading the images", "use fewer or smaller ones"):
        splits = cache.get(planned.data, planned.options)
    planned = fit(planned, splits)
    check_place(planned)
    fresh = not run_dir.exists()
    with refusing(run_dir, "give another --work-dir"):
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock = folder.lock(run_dir)
        except filelock.Timeout:
            raise RunLocked(f"{planned.title}: another process is at this run, passed over") from None
    with lock:
        if record.is_finished(run_dir):  # the other process ended between the look and the lock
            return record.read_record(run_dir)
        with refusing(run_dir):
            for leftover in run_dir.glob(".*.tmp"):
                leftover.unlink()
        if len(splits.train) < splits.found:
            about = [f"{len(splits.train):,} of {splits.found:,} training images used"]
            about += [] if splits.val is None else [f"{len(splits.val):,} held out"]
            about += [splits.train.order] if splits.train.order else []
            messages.remark(f"{planned.title}: {', '.join(about)}")
        try:
            result = _execute(asked, planned, splits)
        except InputError:
            if fresh and not (run_dir / LAST).exists():  # bad weights, say: no epoch was trained that could be lost
                shutil.rmtree(run_dir, ignore_errors=True)
                with suppress(OSError):  # not empty: other runs of the row, other rows
                    run_dir.parent.rmdir()
                    run_dir.parent.parent.rmdir()
            raise
        origin = {"data_order": splits.train.order, "images_found": splits.found}
        result["extra"] = {**result.get("extra", {}), **{name: value for name, value in origin.items() if value}}
        record.write_record(run_dir, result)
        folder.remove_error_log(run_dir)
    return record.read_record(run_dir)


def _execute(asked: PlannedRun, planned: PlannedRun, splits: DataSplits) -> dict[str, Any]:
    """The fields of the run's record; of several processes all train, and what trains nothing is this one's alone."""
    if planned.config.get("posthoc"):
        return posthoc.execute(planned, splits)
    others = team()
    if others is None:
        return training.execute(planned, splits)
    device = torch.device(planned.options.device)
    return others.train(asked, splits.fingerprints, lambda: training.execute(planned, splits), device)


def prepare(asked: PlannedRun, cache: DataCache) -> tuple[PlannedRun, DataSplits]:
    """A run that another process leads: with the device of this one, its first stage and its images.

    Raises:
        InputError: as for :func:`run_planned`.
    """
    import_own_code(asked.config, asked.source)
    planned = after_first_stage(asked.on(device=usable_device(torch.device(asked.options.device).type)))
    with allocating("reading the images", "use fewer or smaller ones"):
        splits = cache.get(planned.data, planned.options)
    return fit(planned, splits), splits


def check_place(planned: PlannedRun) -> None:
    """Makes sure that a run which is not finished has a folder to write in, without leaving anything behind.

    Raises:
        InputError: it cannot be one, or a folder is where one of its files should be.
    """
    if os.path.isfile(planned.run_dir / record.RECORD_FILE):  # a finished one is only read
        return
    check_folder(planned.run_dir)
    for name in folder.FILES:
        check_file(planned.run_dir / name, "move it away")


def finished(planned: PlannedRun, cache: DataCache | None = None) -> dict[str, Any] | None:
    """The record of a run that is finished, None where it is not.

    Raises:
        InputError: the folder holds a finished run of another recipe than the one that is asked for, one by processes with other
            parts of a batch, or one on other training, validation or test images than are there. Images that are not there are no
            error.
    """
    run_dir, first = planned.run_dir, planned.stage1_dir
    if not record.is_finished(run_dir):
        return None
    found = record.read_record(run_dir)
    # Only the first stage knows a second one's data, and of a kept one no more than the record is left.
    is_whole = first is None or (record.is_finished(first) and has_handover(first))
    if is_whole:
        planned = after_first_stage(planned)
    expected: dict[str, Any] = {
        "config_hash": planned.recipe,
        "epochs": planned.epochs,
        "precision": planned.precision,
    }
    if is_whole:
        expected["overrides"] = planned.overrides
    differing = [name for name, value in expected.items() if found[name] != value]
    started_from = None if planned.first is None else planned.first.record
    if started_from is None and first is not None and record.is_finished(first):
        started_from = record.read_record(first)
    if started_from is not None and not differing and found["stage1"]["run_id"] != started_from["run_id"]:
        raise InputError(
            f"{run_dir} started from another first stage than the one that is in {first} now: move this second stage "
            "away to have it run again, or use another --work-dir"
        )
    if differing:
        what = ", ".join(name.replace("_", " ") for name in differing)
        raise InputError(
            f"{run_dir} holds a finished run with another {what} than is asked for: move it away, or use another --work-dir"
        )
    if is_whole:
        check_parts(planned, found)
        dataset = planned.data
        there = (cache or DataCache()).fingerprints(dataset, planned.options) or {}
        others = [IMAGES[name] for name in there if found["data_fingerprint"].get(name) != there[name]]
        if others:
            raise InputError(
                f"{run_dir} holds a finished run on other {' and '.join(others)} than those that are there now: "
                "give the --data-root it had, move it away, or use another --work-dir"
            )
    return found
