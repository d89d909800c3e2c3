"""Runs a suite: every row with every seed, then prints its table.

    python benchmarks/run.py                              # the embedded digits, minutes on two CPU cores
    python benchmarks/run.py --suite cifar100             # the paper's Tab. 8
    python benchmarks/run.py --suite cifar100_lt --seeds 5
    python benchmarks/run.py --suite cost                 # measured, not trained: parameters, FLOPs, memory, time (Tab. 20)
    python benchmarks/run.py --list

Finished runs are skipped and interrupted ones resumed, so the same command can always be given again.
Exit code: 0 all done; 1 a run failed (the others still ran); 2 a wrong argument, config or data set; 3 not all is done, another
process is at some of the runs; 130 interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sar_cls import argument_types, cli, exit_codes, messages, ranks
from sar_cls.errors import InputError, RunFailed
from sar_cls.files import check_file, why
from sar_cls.suites import by_method
from sar_cls.suites import rows as suites
from sar_cls.suites.listing import describe

if TYPE_CHECKING:
    from sar_cls.engine.planned import PlannedRun
    from sar_cls.launch.launchers import Launch
    from sar_cls.reporting.html.page import Runs
    from sar_cls.reporting.tables.suite_tables import SuiteTables

DEFAULT_SUITE = "digits"
DEFAULT_SEEDS = 3
# What says how to train, by its value where it was not given.
TRAINING_OPTIONS = {"seeds": None, "jobs_per_device": 1} | dict.fromkeys(
    ("epochs", "imbalance", "classes", "backbone", "bn_batch", "weights", "image_size", "val_fraction", "hold")
)
TRAINING_OPTIONS |= {"deterministic": False, "tensorboard": False, "download": False}
TRAINING_OPTIONS |= {"sync_bn": False, "local_statistics": False, "iterations": None, "mlflow": None, "features": True}
TRAINING_OPTIONS |= {"seed": None, "dry_run": False, "launcher": "local"}


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to run").add_argument
    add("--suite", help=f"name of a suite (default: {DEFAULT_SUITE})")
    add("--only", nargs="+", action="extend", metavar="ROW", help="only these rows of the suite")
    add("--all", action="store_true", help="also the rows that run only on request")
    add(
        "--seeds",
        type=argument_types.number_of_seeds,
        metavar="N",
        help=f"seeds per row, the paper's three first (default: {DEFAULT_SEEDS})",
    )
    add(
        "--seed",
        type=argument_types.seed,
        nargs="+",
        action="extend",
        metavar="S",
        help="these seeds instead of the first so many",
    )
    cli.add_configs(add)
    add("--list", action="store_true", help="list the suites, or the rows of --suite, and stop")
    add(
        "--imbalance",
        type=argument_types.imbalance,
        metavar="IF",
        help="imbalance factor of a long-tailed suite, or none for all images",
    )
    add(
        "--classes",
        type=argument_types.positive_int,
        metavar="N",
        help="only the first N classes of CIFAR or CUB-200 (a partial copy of which will do)",
    )
    add(
        "--iterations",
        type=argument_types.iterations,
        metavar="N",
        help="iterations instead of those of a segmentation net's recipe; the schedule scales, tables mark the run",
    )
    add(
        "--dry-run",
        action="store_true",
        help="say what would run, what is finished or at work, how long it takes, what is missing; and stop",
    )
    cli.add_run_options(parser, two_stages=True)
    add = parser.add_argument_group("who runs it").add_argument
    add(
        "--launcher",
        choices=["local", "print", "slurm", "ray"],
        default="local",
        help="local: all visible devices of this machine, or --device; print: print the commands, one a line; slurm: a job a "
        "run; ray: the nodes of a Ray cluster (default: local)",
    )
    add(
        "--jobs-per-device",
        type=argument_types.jobs,
        default=1,
        metavar="K",
        help="runs at a time on each device, each in its own process: small nets leave a large GPU idle (default: 1)",
    )
    add("--address", metavar="HOST:PORT", help="the head node of the Ray cluster (default: the one this machine is in)")
    add(
        "--sync",
        action="store_true",
        help="with ray: the nodes share no folder with this machine; data, results and checkpoints go through Ray",
    )
    add(
        "--slurm",
        nargs="+",
        action="extend",
        type=argument_types.pair,
        default=[],
        metavar="KEY=VALUE",
        help="of each job, as submitit has them: slurm_partition=gpu timeout_min=600 gpus_per_node=1 ...",
    )
    return parser.parse_args()


def check_chosen(arguments: argparse.Namespace) -> None:
    """Raises InputError for two options that each say which rows, or which seeds, to run."""
    if arguments.only and arguments.all:
        raise InputError("--only names the rows and --all takes every one: leave one of them out")
    if arguments.seed and arguments.seeds:
        raise InputError("--seed names the seeds and --seeds counts them: leave one of them out")


def check_launcher(arguments: argparse.Namespace) -> None:
    """Raises InputError for an option of another launcher than the one that is asked for, or for one process of several."""
    wanted = {"--address": "ray", "--sync": "ray", "--slurm": "slurm"}
    for option, launcher in wanted.items():
        if getattr(arguments, option.strip("-")) and arguments.launcher != launcher:
            raise InputError(f"{option} is for --launcher {launcher}: leave it out, or add that")
    several = arguments.jobs_per_device > 1 or arguments.launcher != "local"
    if several and ranks.processes() > 1:
        raise InputError(
            "torchrun starts the processes of one run, --jobs-per-device and --launcher several runs: take one of them"
        )


def main() -> int:
    arguments = parse()
    check_chosen(arguments)
    check_launcher(arguments)
    configs = cli.configs(arguments)
    if arguments.list:
        if arguments.suite is not None:
            shown = [suites.load_suite(configs, arguments.suite)]
        else:  # each on its own: included ones are in the list themselves
            names = suites.list_suites(configs)
            shown = [suites.load_suite(configs, name).all_suites[0] for name in names]
        messages.result("\n\n".join(describe(suite) for suite in shown))
        return 0
    suite = suites.load_suite(configs, DEFAULT_SUITE if arguments.suite is None else arguments.suite)
    rows = suites.select_rows(suite, arguments.only, all_rows=arguments.all)
    work_dir = cli.writable_folder(arguments.work_dir)
    if suite.measure:
        refuse_training_options(arguments, suite)

    # Only now: these import torch and mmpretrain, which takes seconds.
    with exit_codes.interruptible():
        from sar_cls.engine.run import check_place
        from sar_cls.engine.shared import check_shared, check_started
        from sar_cls.launch.launchers import LAUNCHERS, Launch
        from sar_cls.launch.plans import plan_runs
        from sar_cls.reporting.tables import suite_tables as table
        from sar_cls.runs import ledger

    report = work_dir / suite.name / "report.html"
    for path in (*table.table_files(suite, work_dir), report):
        check_file(path, "give another --work-dir")
    if suite.measure:
        return measured(arguments, suite, rows, work_dir)
    options = cli.run_options(
        arguments,
        elsewhere=arguments.launcher != "local",
        imbalance=arguments.imbalance,
        epochs=arguments.epochs,
        iterations=arguments.iterations,
        classes=arguments.classes,
    )
    seeds = list(dict.fromkeys(arguments.seed or cli.seeds(arguments.seeds or DEFAULT_SEEDS)))
    runs = plan_runs(rows, seeds, options, work_dir)
    if arguments.launcher != "print":  # who has lines printed may start them in any way
        check_started(runs)
    for planned in runs:
        check_place(planned)
        check_shared(planned)
    launch = Launch(
        suite=suite.name,
        configs=configs,
        work_dir=work_dir,
        device=arguments.device,
        each=arguments.jobs_per_device,
        address=arguments.address or "auto",
        sync=arguments.sync,
        slurm=dict(arguments.slurm),
    )
    if arguments.dry_run:
        return dry_run(runs, launch, elsewhere=arguments.launcher != "local")
    outcome = LAUNCHERS[arguments.launcher](runs, launch)
    if outcome is None:
        return 0
    finished = ledger.scan(work_dir, cli.warn)
    records = [record for _, record in finished]
    shown = [by_method.completed(each, configs, records) for each in suite.all_suites]
    show_and_save(table.tables_from_records(shown, records, cli.warn), suite, work_dir)
    write_report(shown, finished, report)
    if outcome.locked:
        number = len(outcome.locked)
        passed = "1 run was" if number == 1 else f"{number} runs were"
        messages.result(
            f"\nNot all is done: {passed} passed over because another process is at {'it' if number == 1 else 'them'}; give the "
            "same command again."
        )
    return 1 if outcome.failed else 3 if outcome.locked else 0


def write_report(shown: Sequence[suites.Suite], finished: Runs, path: Path) -> None:
    """Writes everything that is known of the suites' runs into one HTML file and names it; without jinja2 only says so."""
    from sar_cls.reporting.html import page

    try:
        page.write_report(shown, finished, path, warn=lambda _: None)  # the table has warned already
    except InputError as error:
        messages.remark(f"no HTML report: {error}")
    except OSError as error:
        raise RunFailed(f"the report is not written, {why(error)}") from error
    else:
        messages.result(f"\nAll of it in one file, for a browser: {path}")


def dry_run(runs: Sequence[PlannedRun], launch: Launch, *, elsewhere: bool = False) -> int:
    """Prints what would be done; nothing is. ``elsewhere`` is as for :func:`sar_cls.cli.run_options`."""
    from sar_cls.engine.options import named_device, visible_devices
    from sar_cls.launch import forecast

    is_remote = elsewhere and launch.device is not None
    devices = [named_device(launch.device)] if is_remote else visible_devices(launch.device)
    states = forecast.look(runs, launch.work_dir, devices[0].partition(":")[0], messages.warn)
    messages.result(forecast.describe(states, len(devices) * launch.each))
    lacking = forecast.lacking(states)
    for sentence in lacking:
        messages.complain(sentence)
    return 2 if lacking or any(state.reason for state in states) else 0


def show_and_save(tables: SuiteTables, suite: suites.Suite, work_dir: Path) -> None:
    """Prints the tables and writes them beside the runs."""
    from sar_cls.reporting.tables.suite_tables import save_tables

    messages.result(f"\n{tables.to_markdown()}")
    try:
        save_tables(tables, suite, work_dir)
    except OSError as error:
        raise RunFailed(f"the table is not written, {why(error)}") from error


def refuse_training_options(arguments: argparse.Namespace, suite: suites.Suite) -> None:
    """Raises InputError for an option that means nothing where rows are measured."""
    for name, default in TRAINING_OPTIONS.items():
        if getattr(arguments, name) != default:
            option = f"--{'no-' if default is True else ''}{name.replace('_', '-')}"
            raise InputError(
                f"{option} is for training, and the rows of suite {suite.name!r} are measured: leave it out"
            )


def measured(arguments: argparse.Namespace, suite: suites.Suite, rows: Sequence[suites.Row], work_dir: Path) -> int:
    """Measures the rows of a suite that is not trained, and shows its table."""
    from sar_cls.reporting.tables.costs import cost_tables, costs_file, read_costs
    from sar_cls.speed.cost_suite import measure_suite

    check_file(costs_file(suite, work_dir), "give another --work-dir")
    exit_codes.when_interrupted("figures that were written stay: the same command measures all anew")
    read_costs(suite, work_dir)  # what is wrong with it is said before minutes are spent
    measure_suite(suite, rows, cli.run_options(arguments), work_dir)
    show_and_save(cost_tables(suite, work_dir), suite, work_dir)
    return 0
