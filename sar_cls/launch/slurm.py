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
from sar_cls.engine.options import usable_device
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError
from sar_cls.launch.attempt import try_run
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.screen import Screen
from sar_cls.runs.folder import remove_error_log

# Jobs that are in the queue at a time: clusters limit them, and a queue is no place for a whole suite.
MOST_JOBS = 100
SECONDS_BETWEEN_LOOKS = 5.0
LOGS = ".slurm"


def run_on_slurm(
    runs: Sequence[PlannedRun], work_dir: Path, parameters: dict[str, str], device: str | None = None
) -> Outcome:
    """Runs what is not finished yet, by the policy of :mod:`sar_cls.launch.outcome`.

    Args:
        runs: in their order, second stages behind their first ones.
        work_dir: of the runs, on a file system that the nodes share; the logs of the jobs go to ``.slurm`` in it.
        parameters: of the jobs as submitit has them, such as ``slurm_partition`` and ``timeout_min``; ``cluster=local`` runs
            them as processes of this machine, and ``most_jobs`` says how many are in the queue at a time.
        device: as it was named; None for what each node has.

    Raises:
        InputError: no submitit, no SLURM, unknown parameters; or a run was refused before any had to be run and has ended.
    """
    cluster, most, settings = _settings(parameters)
    executor = _executor(work_dir, cluster, settings)
    return run_in_pool(runs, lambda left: SlurmPool(executor, most, where=f"{work_dir / LOGS}", device=device))


class SlurmRun:
    """What a job does. submitit calls ``checkpoint`` when it is preempted: the same run is handed in again.

    Args:
        device: as it was named for the runs; None for what the node has.
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self.is_handed_in_again = False

    def __call__(self, planned: PlannedRun) -> Attempt:
        # One that is named and not on this node is refused as any run's is.
        attempt = try_run(planned.on(device=self.device or usable_device(None)), DataCache())
        if self.is_handed_in_again:
            # submitit ends the process by sys.exit, which is no failure of the run: this job has no result, the next one will.
            remove_error_log(planned.run_dir)
            raise SystemExit(-1)
        return attempt

    def checkpoint(self, planned: PlannedRun) -> Any:
        from submitit.helpers import DelayedSubmission

        self.is_handed_in_again = True
        return DelayedSubmission(SlurmRun(self.device), planned)


class SlurmPool:
    """Jobs in the queue.

    Args:
        executor: of submitit.
        most: jobs at a time.
        where: their logs are, for messages.
        pause: seconds between two looks at them.
        device: as it was named, if it was.
    """

    def __init__(
        self, executor: Any, most: int, where: str, pause: float = SECONDS_BETWEEN_LOOKS, device: str | None = None
    ) -> None:
        self.executor, self.most, self.where, self.pause, self.device = executor, most, where, pause, device
        self.jobs: dict[str, Any] = {}
        self.ahead: list[Attempt] = []  # of runs that the queue did not take
        self.states: dict[str, str] = {}

    def room(self) -> int:
        return self.most - len(self.jobs)

    def start(self, planned: PlannedRun) -> None:
        try:
            job = self.executor.submit(SlurmRun(self.device), planned)
        except Exception as error:  # sbatch failed: a limit of the queue, a controller that does not answer
            self.ahead.append(
                Attempt(planned.title, "failed", f"{planned.title}: failed, its job was not taken: {_last_line(error)}")
            )
            return
        self.jobs[planned.title] = job
        messages.remark(f"{planned.title}: job {job.job_id}")

    def ended(self, screen: Screen) -> list[Attempt]:
        if self.ahead:
            found, self.ahead = self.ahead, []
            return found
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
            reason = f"its job {job.job_id} ended: {_last_line(error)} (log in {self.where})"
            return Attempt(title, "failed", f"{title}: failed, {reason}")

    def close(self) -> None:
        for job in self.jobs.values():
            job.cancel(check=False)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


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
