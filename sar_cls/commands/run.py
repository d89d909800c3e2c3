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

from sar_cls import cli, messages
from sar_cls.errors import InputError, RunFailed
from sar_cls.files import check_file, why
from sar_cls.suites import rows as suites

if TYPE_CHECKING:
    from sar_cls.reporting.tables.suite_tables import SuiteTables

DEFAULT_SUITE = "digits"
# What says how to train, by its value where it was not given.
TRAINING_OPTIONS = {"seeds": 3, "jobs_per_device": 1} | dict.fromkeys(
    ("epochs", "imbalance", "classes", "backbone", "bn_batch", "weights", "image_size", "val_fraction", "hold")
)
TRAINING_OPTIONS |= {"deterministic": False, "tensorboard": False, "download": False}


def parse() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to run").add_argument
    add("--suite", help=f"name of a suite (default: {DEFAULT_SUITE})")
    add("--only", nargs="+", metavar="ROW", help="only these rows of the suite")
    add("--all", action="store_true", help="also the rows that run only on request")
    add(
        "--seeds",
        type=cli.number_of_seeds,
        default=3,
        metavar="N",
        help="seeds per row, the paper's three first (default: 3)",
    )
    cli.add_configs(add)
    add("--list", action="store_true", help="list the suites, or the rows of --suite, and stop")
    add(
        "--imbalance",
        type=cli.imbalance,
        metavar="IF",
        help="imbalance factor of a long-tailed suite, or none for all images",
    )
    add("--classes", type=cli.positive_int, metavar="N", help="only the first N classes of CUB-200 (a partial copy)")
    add(
        "--jobs-per-device",
        type=cli.jobs,
        default=1,
        metavar="K",
        help="runs at a time, each in its own process: small nets leave a large GPU idle (default: 1)",
    )
    add(
        "--iterations",
        type=cli.iterations,
        metavar="N",
        help="iterations instead of those of a segmentation net's recipe; the schedule scales, tables mark the run",
    )
    cli.add_run_options(parser, two_stages=True)
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    configs = cli.configs(arguments)
    if arguments.list:
        if arguments.suite is not None:
            shown = [suites.load_suite(configs, arguments.suite)]
        else:  # each on its own: included ones are in the list themselves
            names = suites.list_suites(configs)
            shown = [suites.load_suite(configs, name).all_suites[0] for name in names]
        messages.result("\n\n".join(suites.describe(suite) for suite in shown))
        return 0
    suite = suites.load_suite(configs, DEFAULT_SUITE if arguments.suite is None else arguments.suite)
    rows = suites.select_rows(suite, arguments.only, all_rows=arguments.all)
    work_dir = cli.writable_folder(arguments.work_dir)
    if suite.measure:
        refuse_training_options(arguments, suite)

    # Only now: these import torch and mmpretrain, which takes seconds.
    with cli.interruptible():
        from sar_cls.engine.run import check_place
        from sar_cls.launch.plans import plan_runs
        from sar_cls.reporting.tables import suite_tables as table

    report = work_dir / suite.name / "report.html"
    for path in (*table.table_files(suite, work_dir), report):
        check_file(path, "give another --work-dir")
    if suite.measure:
        return measured(arguments, suite, rows, work_dir)
    options = cli.run_options(
        arguments,
        imbalance=arguments.imbalance,
        epochs=arguments.epochs,
        iterations=arguments.iterations,
        classes=arguments.classes,
    )
    runs = plan_runs(rows, cli.seeds(arguments.seeds), options, work_dir)
    for planned in runs:
        check_place(planned)
    if arguments.jobs_per_device == 1:
        from sar_cls.launch.serial import run_serially

        outcome = run_serially(runs)
    else:
        from sar_cls.launch.workers import run_side_by_side

        outcome = run_side_by_side(runs, arguments.jobs_per_device)
    show_and_save(table.suite_tables(suite, work_dir, warn=cli.warn), suite, work_dir)
    write_report(suite, report, work_dir)
    if outcome.locked:
        number = "1 run was" if len(outcome.locked) == 1 else f"{len(outcome.locked)} runs were"
        messages.result(
            f"\nNot all is done: {number} passed over because another process is at them; give the same command again."
        )
    return 1 if outcome.failed else 3 if outcome.locked else 0


def write_report(suite: suites.Suite, path: Path, work_dir: Path) -> None:
    """Writes everything that is known of the suite's runs into one HTML file and names it; without jinja2 only says so."""
    from sar_cls.reporting.html import page
    from sar_cls.runs import ledger

    try:
        runs = ledger.scan(work_dir, lambda _: None)  # the table has warned already
        page.write_report(suite.all_suites, runs, path, warn=lambda _: None)
    except InputError as error:
        messages.remark(f"no HTML report: {error}")
    except OSError as error:
        raise RunFailed(f"the report is not written, {why(error)}") from error
    else:
        messages.result(f"\nAll of it in one file, for a browser: {path}")


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
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is for training, and the rows of suite {suite.name!r} are measured: leave it out"
            )


def measured(arguments: argparse.Namespace, suite: suites.Suite, rows: Sequence[suites.Row], work_dir: Path) -> int:
    """Measures the rows of a suite that is not trained, and shows its table."""
    from sar_cls.reporting.tables.costs import cost_tables, costs_file, read_costs
    from sar_cls.speed.cost_suite import measure_suite

    check_file(costs_file(suite, work_dir), "give another --work-dir")
    read_costs(suite, work_dir)  # what is wrong with it is said before minutes are spent
    measure_suite(suite, rows, cli.run_options(arguments), work_dir)
    show_and_save(cost_tables(suite, work_dir), suite, work_dir)
    return 0
