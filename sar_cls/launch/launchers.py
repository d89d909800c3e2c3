"""The launchers by name: who runs the runs of a suite. One interface, one policy for failures, the same table at the end.

Each is a function of the planned runs and of what the command line says about how to launch them; it returns how they ended, or
None where it has run nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sar_cls.engine.options import visible_devices
from sar_cls.engine.planned import PlannedRun
from sar_cls.launch.outcome import Outcome


@dataclass(frozen=True)
class Launch:
    """What the command line says about where the runs are run.

    Attributes:
        suite: its name.
        configs: folder of the suites.
        work_dir: of the runs.
        device: as it was named, if it was.
        each: runs at a time on each device.
        address: of a Ray cluster.
        sync: whether nodes see neither the data nor the work directory.
        slurm: parameters of the jobs, as submitit has them.
    """

    suite: str
    configs: Path
    work_dir: Path
    device: str | None = None
    each: int = 1
    address: str = "auto"
    sync: bool = False
    slurm: dict[str, str] = field(default_factory=dict)


def local(runs: Sequence[PlannedRun], launch: Launch) -> Outcome:
    """On the devices of this machine; one place alone is this very process."""
    devices = visible_devices(launch.device)
    if len(devices) == launch.each == 1:
        from sar_cls.launch.serial import run_serially

        return run_serially(runs)
    from sar_cls.launch.workers import run_side_by_side

    return run_side_by_side(runs, devices, launch.each)


def print_commands(runs: Sequence[PlannedRun], launch: Launch) -> None:
    """Prints the commands for a scheduler of one's own."""
    from sar_cls.launch.commands import print_commands

    print_commands(runs, launch.suite, launch.configs, launch.work_dir, launch.device)


def slurm(runs: Sequence[PlannedRun], launch: Launch) -> Outcome:
    """As jobs of a SLURM cluster."""
    from sar_cls.launch.slurm import run_on_slurm

    return run_on_slurm(runs, launch.work_dir, launch.slurm, launch.device)


def ray(runs: Sequence[PlannedRun], launch: Launch) -> Outcome:
    """On the nodes of a Ray cluster."""
    from sar_cls.launch.ray_pool import run_on_ray

    return run_on_ray(
        runs, launch.work_dir, address=launch.address, device=launch.device, each=launch.each, sync=launch.sync
    )


LAUNCHERS: dict[str, Callable[[Sequence[PlannedRun], Launch], Outcome | None]] = {
    "local": local,
    "print": print_commands,
    "slurm": slurm,
    "ray": ray,
}
