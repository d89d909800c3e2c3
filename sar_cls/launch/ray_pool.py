"""Runs on the nodes of a Ray cluster: each a task with its share of a GPU or of the CPUs.

- Where a node or a process is lost, its runs start again elsewhere, from their last checkpoint.
- Where this process is lost, Ray ends the tasks; the same command goes on from the last whole epochs.
- Two of these processes on one work directory do not run anything twice: a run is locked by who runs it, on a shared file system
  by the task, else by this process.
- ``--sync``, where the nodes share no folder with this machine: Ray's object store, which every node has, takes each data set once
  (by its fingerprints) and hands it to the nodes; last checkpoints and finished runs come back the same way.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from sar_cls import messages
from sar_cls.engine.planned import PlannedRun, after_first_stage, data_root_of
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.ray_cluster import check_nodes, connect, import_ray, nodes, own_versions
from sar_cls.launch.ray_node import Desk, Files, Parcel, pack, run_on_node
from sar_cls.launch.screen import Screen
from sar_cls.runs import folder, record
from sar_cls.runs.folder import RECORD_FILE

MOST_TRIES = 4
# A process on a node that was lost may live on a moment, and hold the lock of its run.
PATIENCE = 120.0
# With more places than these the lines of single runs are left to the screen of a terminal.
FEW_PLACES = 16


def run_on_ray(
    runs: Sequence[PlannedRun],
    work_dir: Path,
    *,
    address: str = "auto",
    device: str | None = None,
    each: int = 1,
    sync: bool = False,
    seconds: float = 30.0,
) -> Outcome:
    """Runs what is not finished yet, by the policy of :mod:`sar_cls.launch.outcome`.

    Args:
        runs: in their order, second stages behind their first ones.
        work_dir: of the runs.
        address: of the head node; "auto" for the cluster that this machine is in.
        device: type of the devices, "cpu" or "cuda"; None takes GPUs where the cluster has any.
        each: runs at a time on each GPU, or on as many cores as a run has threads (by default 1).
        sync: whether the nodes share no folder with this machine.
        seconds: between two checkpoints of a run that are brought back with ``sync``.

    Raises:
        InputError: no Ray, no cluster, a node with another version, a work directory that is not shared; or a run was refused
            before any had to be run and has ended.
    """
    import_ray()
    work_dir = work_dir.absolute()
    whole = [_absolute(planned, runs) for planned in runs]
    if sync and runs and (runs[0].options.weights or "none") != "none" and Path(str(runs[0].options.weights)).is_file():
        raise InputError("--sync does not carry a file of --weights: name weights that the nodes can fetch themselves")
    if sync and any("train" in planned.data for planned in runs):
        raise InputError(
            "--sync does not carry the image files of mmseg's data sets: put data and --work-dir on a shared folder"
        )

    def open_pool(left: Sequence[PlannedRun]) -> RayPool:
        return RayPool(left, work_dir, address, device, each, sync=sync, seconds=seconds)

    return run_in_pool(whole, open_pool)


def _absolute(planned: PlannedRun, runs: Sequence[PlannedRun]) -> PlannedRun:
    """Nodes have another current folder."""
    weights = planned.options.weights
    if weights is not None and Path(weights).is_file():
        weights = str(Path(weights).absolute())
    options = replace(planned.options, data_root=data_root_of(planned, runs), weights=weights)
    stage1 = None if planned.stage1_dir is None else planned.stage1_dir.absolute()
    return replace(planned, run_dir=planned.run_dir.absolute(), stage1_dir=stage1, options=options)


@dataclass
class _Task:
    planned: PlannedRun
    tries: int = 1
    lock: Any = None


class RayPool:
    """Tasks on a cluster; the arguments are those of :func:`run_on_ray`."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        work_dir: Path,
        address: str,
        device: str | None,
        each: int,
        *,
        sync: bool,
        seconds: float,
    ) -> None:
        self.ray, self.work_dir, self.sync, self.seconds = import_ray(), work_dir, sync, seconds
        self.connected = connect(address)
        try:
            found = nodes()
            check_nodes(found, work_dir, shared=not sync)
            self.device = device or ("cuda" if any(node.gpus for node in found) else "cpu")
            self.threads = runs[0].options.threads or (None if self.device == "cuda" else 1)
            self.gpus = 1 / each if self.device != "cpu" else 0.0
            self.cpus = 0.0 if self.gpus else (self.threads or 1) / each
            places = sum(node.places(self.cpus, self.gpus) for node in found)
            if not places:
                kind = "GPU" if self.gpus else "CPU"
                raise InputError(
                    f"no node of the cluster has the {kind}s of one run: add nodes, or give --device or --threads"
                )
        except BaseException:
            self._leave()
            raise
        self.few = places <= FEW_PLACES
        messages.remark(f"{places} runs at a time on {len(found)} nodes of a Ray cluster")
        self.expected, self.cache = own_versions(), DataCache()
        here = self.ray.get_runtime_context().get_node_id()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        beside = NodeAffinitySchedulingStrategy(here, soft=False)
        self.desk = self.ray.remote(Desk).options(num_cpus=0, scheduling_strategy=beside).remote()
        self.task = self.ray.remote(run_on_node).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)
        self.tasks: dict[Any, _Task] = {}
        self.ahead: list[Attempt] = []  # of runs that came to no task
        self.splits: dict[str, Any] = {}

    def room(self) -> int:
        return sum(node.places(self.cpus, self.gpus) for node in nodes()) - len(self.tasks)

    def start(self, planned: PlannedRun) -> None:
        task = _Task(planned.on(device=self.device, threads=self.threads))
        if self.sync:
            early = self._take(task)
            if early is not None:
                self.ahead.append(early)
                return
        self._submit(task)

    def _take(self, task: _Task) -> Attempt | None:
        """Locks a run for this process; how it ended, where it is not to be run."""
        run_dir, title, first = task.planned.run_dir, task.planned.title, task.planned.stage1_dir
        if first is not None and not record.is_finished(first) and folder.is_locked(first):
            return Attempt(title, "locked", f"{title}: another process is at its first stage, passed over")
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            task.lock = folder.lock(run_dir)
        except filelock.Timeout:
            return Attempt(title, "locked", f"{title}: another process is at this run, passed over")
        if record.is_finished(run_dir):  # by another process, meanwhile
            task.lock.lock.release()
            return Attempt(title, "done", f"{title}: finished before", before=True)
        return None

    def _submit(self, task: _Task) -> None:
        parcel = splits = None
        if self.sync:
            try:
                parcel, splits = self._parcel(task.planned)
            except InputError as error:
                self._end(task)
                title = task.planned.title
                self.ahead.append(Attempt(title, "failed", f"{title}: {error}", refused=str(error)))
                return
        patience = PATIENCE if task.tries > 1 else 0.0
        reference = self.task.remote(
            task.planned, parcel, splits, self.desk, self.expected, patience=patience, seconds=self.seconds
        )
        self.tasks[reference] = task

    def _parcel(self, planned: PlannedRun) -> tuple[Parcel, Any]:
        """What a run needs on its node, and a reference to its images."""
        whole = after_first_stage(planned)
        dataset = whole.config.train_dataloader.dataset.to_dict()
        splits = self.cache.get(dataset, whole.options)
        prints = {name: (part.fingerprint, part.order) for name, part in splits.parts.items()}
        key = hashlib.sha256(json.dumps([prints, splits.found], sort_keys=True).encode()).hexdigest()
        if key not in self.splits:
            self.splits[key] = self.ray.put(splits)
        first = {} if planned.stage1_dir is None else pack(planned.stage1_dir)
        parcel = Parcel(self.work_dir, dataset, whole.options.val_fraction, pack(planned.run_dir), first)
        return parcel, self.splits[key]

    def ended(self, screen: Screen) -> list[Attempt]:
        ended, self.ahead = self.ahead, []
        if self.tasks:
            ready, _ = self.ray.wait(list(self.tasks), num_returns=1, timeout=0 if ended else 1.0)
            self._fetch(screen)
            ended += [attempt for reference in ready if (attempt := self._result(reference)) is not None]
        elif not ended:  # no node is left: perhaps one comes
            time.sleep(1)
        return ended

    def _result(self, reference: Any) -> Attempt | None:
        task = self.tasks.pop(reference)
        title, errors = task.planned.title, self.ray.exceptions
        try:
            attempt, files = self.ray.get(reference)
        except errors.RayTaskError as error:  # not of the run, which try_run sees to, but of what is round it
            attempt, files = self._lost(title, error), {}
        except errors.RayError as error:  # the node, the process or the result is gone
            if task.tries < MOST_TRIES:
                task.tries += 1
                messages.remark(f"{title}: its node or process is lost, started again")
                self._submit(task)
                return None
            attempt, files = self._lost(title, error), {}
        if self.sync:
            _write(files, task.planned.run_dir)
        self._end(task)
        return attempt

    def _lost(self, title: str, error: Exception) -> Attempt:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        return Attempt(
            title, "failed", f"{title}: failed, {type(error).__name__}: {lines[-1].strip() if lines else ''}"
        )

    def _fetch(self, screen: Screen) -> None:
        """What the nodes had to say, and their checkpoints."""
        lines, files = self.ray.get(self.desk.take.remote())
        for title, line in lines:
            screen.said(title, line, everywhere=self.few)
        for task in self.tasks.values():
            if task.planned.title in files:
                _write(files[task.planned.title], task.planned.run_dir)

    def _end(self, task: _Task) -> None:
        if task.lock is not None:
            task.lock.lock.release()
            task.lock = None

    def close(self) -> None:
        for reference, task in self.tasks.items():
            self.ray.cancel(reference, force=True)
            self._end(task)
        self.ray.kill(self.desk)
        self._leave()

    def _leave(self) -> None:
        if self.connected:
            self.ray.shutdown()


def _write(files: Files, run_dir: Path) -> None:
    """Writes files of a run, each at once, its record last: with it the run is finished."""
    for name in sorted(files, key=lambda name: (name == RECORD_FILE, name)):
        with replacing(run_dir / name) as temporary:
            temporary.write_bytes(files[name])
