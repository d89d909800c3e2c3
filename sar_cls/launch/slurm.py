"""Runs as jobs of a SLURM cluster, by submitit: one job a run, on a shared file system.

This process hands them in, waits, and prints the table at the end. A job that is preempted or runs into its time limit is put back
into the queue and goes on from its last whole epoch. Ctrl-C cancels the jobs; where this process is killed they go on: the same
command, given again, passes over those that are at work and takes those that have ended for finished.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sar_cls import messages
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError
from sar_cls.launch.attempt import try_run
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.screen import Screen

# Jobs that are in the queue at a time: clusters limit them, and a queue is no place for a whole suite.
MOST_JOBS = 100
SECONDS_BETWEEN_LOOKS = 5.0
LOGS = ".slurm"


def run_on_slurm(runs: Sequence[PlannedRun], work_dir: Path, parameters: dict[str, str]) -> Outcome:
    """Runs what is not finished yet, by the policy of :mod:`sar_cls.launch.outcome`.

    Args:
        runs: in their order, second stages behind their first ones.
        work_dir: of the runs, on a file system that the nodes share; the logs of the jobs go to ``.slurm`` in it.
        parameters: of the jobs as submitit has them, such as ``slurm_partition`` and ``timeout_min``; ``cluster=local`` runs
            them as processes of this machine, and ``most_jobs`` says how many are in the queue at a time.

    Raises:
        InputError: no submitit, no SLURM, unknown parameters; or a run was refused before any had to be run and has ended.
    """
    cluster, most, settings = _settings(parameters)
    executor = _executor(work_dir, cluster, settings)
    return run_in_pool(runs, lambda left: SlurmPool(executor, most, where=f"{work_dir / LOGS}"))


class SlurmRun:
    """What a job does. submitit calls ``checkpoint`` when it is preempted: the same run is handed in again."""

    def __call__(self, planned: PlannedRun) -> Attempt:
        return try_run(planned, DataCache())

    def checkpoint(self, planned: PlannedRun) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, planned)


class SlurmPool:
    """Jobs in the queue.

    Args:
        executor: of submitit.
        most: jobs at a time.
        where: their logs are, for messages.
        pause: seconds between two looks at them.
    """

    def __init__(self, executor: Any, most: int, where: str, pause: float = SECONDS_BETWEEN_LOOKS) -> None:
        self.executor, self.most, self.where, self.pause = executor, most, where, pause
        self.jobs: dict[str, Any] = {}
        self.states: dict[str, str] = {}

    def room(self) -> int:
        return self.most - len(self.jobs)

    def start(self, planned: PlannedRun) -> None:
        job = self.executor.submit(SlurmRun(), planned)
        self.jobs[planned.title] = job
        messages.remark(f"{planned.title}: job {job.job_id}")

    def ended(self, screen: Screen) -> list[Attempt]:
        for title, job in self.jobs.items():
            screen.said(title, f"{title}: job {job.job_id}, {str(job.state).lower()}", everywhere=False)
        ended = [title for title, job in self.jobs.items() if job.done()]
        if not ended and self.jobs:
            time.sleep(self.pause)
        return [self._attempt(title, self.jobs.pop(title)) for title in ended]

    def _attempt(self, title: str, job: Any) -> Attempt:
        try:
            return job.result()
        except Exception as error:  # the job died, was cancelled, or ran out of time too often
            lines = [line for line in str(error).strip().splitlines() if line.strip()]
            reason = lines[-1].strip() if lines else type(error).__name__
            return Attempt(
                title, "failed", f"{title}: failed, its job {job.job_id} ended: {reason} (log in {self.where})"
            )

    def close(self) -> None:
        for job in self.jobs.values():
            job.cancel(check=False)


def _settings(parameters: dict[str, str]) -> tuple[str, int, dict[str, Any]]:
    """The cluster, the jobs at a time, and the parameters of a job, numbers as numbers."""
    values: dict[str, Any] = {name: int(text) if text.isdecimal() else text for name, text in parameters.items()}
    cluster, most = values.pop("cluster", "slurm"), values.pop("most_jobs", MOST_JOBS)
    if cluster not in ("slurm", "local"):
        raise InputError(f"--slurm cluster={cluster}: choose slurm, or local for processes of this machine")
    if not isinstance(most, int) or most < 1:
        raise InputError(f"--slurm most_jobs={most}: give a whole number of at least 1")
    return cluster, most, values


def _executor(work_dir: Path, cluster: str, settings: dict[str, Any]) -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise InputError("--launcher slurm needs submitit: install it with pip install 'sar-cls[slurm]'") from error
    if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
        raise InputError(
            "there is no SLURM here, sbatch is not found: use --launcher local, or print for another scheduler"
        )
    # Absolute, and with a name for each job: the folder of a job is the same on every node.
    executor = submitit.AutoExecutor(folder=work_dir.absolute() / LOGS / "%j", cluster=cluster)
    try:
        executor.update_parameters(**settings)
    except (
        NameError,
        TypeError,
        ValueError,
        AssertionError,
    ) as error:  # NameError is submitit's for an unknown parameter
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"--slurm: {reason}; see submitit's AutoExecutor.update_parameters") from error
    return executor
