"""The commands that do what is left of some runs, for any scheduler that there is.

A line is whole in itself: a first stage with the second stages that start from it, for one seed. So lines can be run in any order
and at the same time, and again after a failure:

    sar-cls run --suite cifar100_lt --launcher print | xargs -d '\\n' -P 4 -I LINE sh -c LINE
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from sar_cls import messages
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, data_root_of
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError
from sar_cls.launch.attempt import finished_before
from sar_cls.suites.places import CONFIGS

# Fields of the options that no argument of benchmarks/run.py sets, or that are given in another way.
_OTHERS = ("device", "data_root", "dataset", "stage2_epochs", "stage2_iterations", "full_epochs")


def print_commands(
    runs: Sequence[PlannedRun], suite: str, configs: Path, work_dir: Path, device: str | None = None
) -> None:
    """Prints a line for each first stage and seed of which something is left to do; stderr says how much is finished.

    Args:
        runs: of one command line, all with its options.
        suite: that the command line names.
        configs: folder of the suites.
        work_dir: of the runs.
        device: as it was named, if it was; each line may run on another machine.

    Raises:
        InputError: a finished run is another one than is asked for.
    """
    groups: dict[Path, list[PlannedRun]] = {}
    for planned in left_to_do(runs):
        groups.setdefault(planned.stage1_dir or planned.run_dir, []).append(planned)
    for group in groups.values():
        names = [f"{planned.suite}/{planned.row}" for planned in group]
        arguments = ["--suite", suite, "--only", *names, "--seed", str(group[0].seed)]
        if configs != CONFIGS:
            arguments += ["--configs", str(configs.absolute())]
        arguments += ["--work-dir", str(work_dir.absolute()), "--data-root", data_root_of(group[0], runs)]
        options = group[0].options
        if all(planned.stage1_dir is None for planned in group):
            options = replace(options, hold=None)  # it is refused where there is no second stage
        arguments += option_arguments(options)
        arguments += [] if device is None else ["--device", device]
        messages.result(shlex.join([sys.executable, "-m", "sar_cls", "run", *arguments]))


def left_to_do(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Those that are not finished; says how many are."""
    runs, cache = list(runs), DataCache()
    left = []
    for planned in runs:
        before = finished_before(planned, cache)
        if before is None:
            left.append(planned)
        elif before.refused:
            raise InputError(before.refused)
    if len(left) < len(runs):
        messages.remark(f"{len(runs) - len(left)} of {len(runs)} runs are finished")
    return left


def option_arguments(options: Options) -> list[str]:
    """The arguments of ``benchmarks/run.py`` that give these options, but for device and data root, where they are no default."""
    found: list[str] = []
    for field in fields(Options):
        value = getattr(options, field.name)
        if field.name in _OTHERS or value == field.default:
            continue
        name = f"--{'no-' if value is False else ''}{field.name.replace('_', '-')}"
        if field.name == "weights" and Path(value).is_file():
            value = str(Path(value).absolute())
        found += [name] if isinstance(value, bool) else [name, str(value)]
    return found
