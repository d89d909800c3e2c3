"""Prints the tables of finished runs; where nothing was run, the paper's figures beside empty columns.

    python benchmarks/report.py                                     # every suite that has runs in work_dirs
    python benchmarks/report.py --suite cifar100_lt --format csv
    python benchmarks/report.py --work-dir results/cpu-20-epochs    # the runs that are kept in the repository
    python benchmarks/report.py --suite cifar100_lt --plots plots   # PNG and SVG as well
    python benchmarks/report.py --suite cifar100_lt --keep results/mine   # records and tables, without weights

Exit code: 0 all well; 2 a wrong argument, work directory or folder to write to.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sar_cls import cli, messages
from sar_cls.errors import InputError
from sar_cls.files import refusing, why
from sar_cls.suites import by_method
from sar_cls.suites import rows as suites

DEFAULT_WORK_DIR = Path("work_dirs")


def parse() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work-dir", type=Path, metavar="DIR", help=f"folder of the runs (default: {DEFAULT_WORK_DIR})"
    )
    parser.add_argument(
        "--suite", metavar="NAME", help="one suite and what it includes (default: all that have runs, else the paper's)"
    )
    cli.add_configs(parser.add_argument)
    parser.add_argument("--format", choices=["md", "csv"], default="md", help="Markdown or CSV (default: md)")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="compute all metrics anew from the saved test logits (records stay, per_class.csv is written anew)",
    )
    parser.add_argument(
        "--precisions", action="store_true", help="also compare fp32 with other precisions, where a row was run in both"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="also draw the runs into this folder, as PNG and SVG")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="also copy records, histories, per-class accuracies and tables of these runs into this folder",
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    configs = cli.configs(arguments)
    work_dir = arguments.work_dir or DEFAULT_WORK_DIR
    if arguments.work_dir is not None and not work_dir.is_dir():
        raise InputError(f"--work-dir {work_dir} is not a folder; name the folder that benchmarks/run.py wrote to")
    for option in ("keep", "plots"):
        if getattr(arguments, option) is not None:
            cli.writable_folder(getattr(arguments, option), f"--{option}")
    folders = by_method.folder_suite(configs)
    if folders is not None and arguments.suite == folders.name:
        chosen = [folders]
    elif arguments.suite is not None:
        chosen = list(suites.load_suite(configs, arguments.suite).all_suites)
    else:
        chosen = [
            suite for name in suites.list_suites(configs) for suite in suites.load_suite(configs, name).all_suites[:1]
        ]
        chosen += [] if folders is None or folders.name in [suite.name for suite in chosen] else [folders]

    with cli.interruptible():
        from sar_cls.reporting.tables import suite_tables as table
        from sar_cls.runs import ledger

    runs = ledger.scan(work_dir, cli.warn)
    if arguments.suite is None:
        known = {suite.name for suite in chosen}
        for name in sorted({record["suite"] for _, record in runs} - known):
            cli.warn(f"runs are left out: there is no suite {name!r} (any more).")
        ran = [suite for suite in chosen if any(record["suite"] == suite.name for _, record in runs)]
        chosen = ran or [suite for suite in chosen if suite.paper_dataset]
    chosen = [completed(suite, configs, [record for _, record in runs]) for suite in chosen]
    if arguments.recompute:
        runs = [(run_dir, recomputed(record, run_dir)) for run_dir, record in runs]
        warn_of_rounded_logits([run_dir for run_dir, _ in runs])
    tables = table.tables_from_records(chosen, [record for _, record in runs], cli.warn)
    messages.result(tables.to_csv() if arguments.format == "csv" else tables.to_markdown(), end="")
    if arguments.precisions:
        from sar_cls.reporting.tables.precisions import precision_table

        found = precision_table(chosen, [record for _, record in runs], cli.warn)
        messages.result(f"\n{found or 'No row was run in two precisions with the same seed.'}")
    if arguments.keep is not None:
        with writing_to(arguments.keep, "--keep"):
            keep(chosen, runs, arguments.keep)
    if arguments.plots is not None:
        from sar_cls.reporting.figures import plots

        with writing_to(arguments.plots, "--plots"):
            for path in plots.plot_suites(chosen, runs, arguments.plots, cli.warn):
                messages.remark(f"wrote {path}")
    return 0


def completed(suite: suites.Suite, configs: Path, records: Sequence[dict[str, Any]]) -> suites.Suite:
    """The suite as it is, or with rows for the methods that stage1.py and stage2.py were asked for beyond its own."""
    ran = {record["row"] for record in records if record["suite"] == suite.name}
    return by_method.with_methods(suite, configs) if ran - {row.name for row in suite.rows} else suite


def recomputed(record: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """The record with new metrics, or as it is, with a warning, where its logits are not there."""
    from sar_cls.runs.outputs import recompute
    from sar_cls.runs.per_class import PER_CLASS_FILE, write_per_class

    try:
        new = recompute(record, run_dir)
    except InputError as error:
        cli.warn(f"recorded metrics are kept: {error}")
        return record
    try:
        write_per_class(run_dir, new)
    except OSError as error:
        cli.warn(f"{PER_CLASS_FILE} is left as it is: {why(error, run_dir / PER_CLASS_FILE)}")
    return new


def warn_of_rounded_logits(run_dirs: Sequence[Path]) -> None:
    """Says once, for all runs together, that recomputed figures come from logits that were saved in half precision."""
    from sar_cls.runs.outputs import has_rounded_logits

    rounded = [run_dir for run_dir in run_dirs if has_rounded_logits(run_dir)]
    if rounded:
        others = f" and {len(rounded) - 1} more" if len(rounded) > 1 else ""
        cli.warn(
            f"the test logits of {rounded[0]}{others} were saved in float16 by an older version: ties go to the lower class, and "
            "recomputed figures can be off by some hundredths of a point."
        )


def keep(chosen: Sequence[suites.Suite], runs: Sequence[tuple[Path, dict[str, Any]]], folder: Path) -> None:
    """Copies the runs of the chosen suites, and writes the tables of those that have any."""
    from sar_cls.reporting.tables import suite_tables as table
    from sar_cls.runs.keep import keep_runs

    names, rows = {suite.name for suite in chosen}, {row.key for suite in chosen for row in suite.rows}
    copies = keep_runs(
        [(d, record) for d, record in runs if record["suite"] in names or (record["suite"], record["row"]) in rows],
        folder,
    )
    for suite in chosen:
        if any(record["suite"] == suite.name for _, record in runs):
            table.write_tables(suite, folder, warn=cli.warn)
    messages.remark(f"kept {len(copies)} run{'' if len(copies) == 1 else 's'} in {folder}")


@contextmanager
def writing_to(folder: Path, option: str) -> Iterator[None]:
    """Turns what the system has against writing into a sentence that names the option."""
    with refusing(folder, f"give another {option}"):
        yield
