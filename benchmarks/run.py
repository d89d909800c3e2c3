"""Runs a suite: every row with every seed, then prints its table.

    python benchmarks/run.py                              # the embedded digits, minutes on two CPU cores
    python benchmarks/run.py --suite cifar100             # the paper's Tab. 8
    python benchmarks/run.py --suite cifar100_lt --seeds 5
    python benchmarks/run.py --list

Finished runs are skipped and interrupted ones resumed, so the same command can always be given again.
Exit code: 0 all done; 1 a run failed (the others still ran); 2 a wrong argument, config or data set; 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path

from sar_cls import cli
from sar_cls.reporting import suites


def parse() -> cli.argparse.Namespace:
    parser = cli.Parser(prog="run.py", description=__doc__, formatter_class=cli.argparse.RawDescriptionHelpFormatter)
    what = parser.add_argument_group("what to run")
    add = what.add_argument
    add("--suite", default="digits", help="name of a suite (default: digits)")
    add("--only", nargs="+", metavar="ROW", help="only these rows of the suite")
    add("--all", action="store_true", help="also the rows that run only on request")
    add(
        "--seeds",
        type=cli.positive_int,
        default=3,
        metavar="N",
        help="seeds per row, the paper's three first (default: 3)",
    )
    add("--list", action="store_true", help="list the suites, or the rows of --suite, and stop")
    add = parser.add_argument_group("how to run it").add_argument
    add(
        "--epochs",
        type=cli.positive_int,
        metavar="N",
        help="epochs of stage 1 instead of the recipe's; the table marks it",
    )
    add("--imbalance", type=cli.imbalance, metavar="IF", help="imbalance factor of a long-tailed suite")
    add("--val-fraction", type=cli.fraction, metavar="F", help="training images held out to choose the best epoch")
    add("--precision", choices=["fp32", "bf16"], help="instead of the config's")
    add("--deterministic", action="store_true", help="ask torch for deterministic algorithms")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add = parser.add_argument_group("where things are").add_argument
    add("--data-root", metavar="DIR", help="folder of the data sets (default: data)")
    add("--download", action="store_true", help="download a missing CIFAR set")
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        metavar="DIR",
        help="folder of the runs (default: work_dirs)",
    )
    add("--tensorboard", action="store_true", help="write TensorBoard files beside each run")
    arguments = parser.parse_args()
    arguments.suite_given = any(item.split("=")[0] == "--suite" for item in cli.sys.argv[1:])
    return arguments


def main() -> int:
    arguments = parse()
    if arguments.list:
        names = [arguments.suite] if arguments.suite_given else suites.list_suites(cli.CONFIGS)
        print("\n\n".join(suites.describe(suites.load_suite(cli.CONFIGS, name)) for name in names))
        return 0
    suite = suites.load_suite(cli.CONFIGS, arguments.suite)
    rows = suites.select_rows(suite, arguments.only, all_rows=arguments.all)
    work_dir = cli.writable_folder(arguments.work_dir)

    # Only now: these import torch and mmpretrain, which takes seconds.
    from sar_cls.mm import suite as runs
    from sar_cls.mm.options import Options
    from sar_cls.reporting import table

    options = Options(
        device=str(runs.check_device(arguments.device or runs.default_device())),
        data_root=arguments.data_root,
        download=arguments.download,
        epochs=arguments.epochs,
        precision=arguments.precision,
        val_fraction=arguments.val_fraction,
        imbalance=arguments.imbalance,
        tensorboard=arguments.tensorboard,
        deterministic=arguments.deterministic,
    )
    outcome = runs.run_jobs(runs.make_jobs(rows, cli.seeds(arguments.seeds), options, work_dir), options)
    tables = table.write_tables(suite, work_dir)
    print()
    print(tables.to_markdown())
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    cli.main_with_exit_code(main)
