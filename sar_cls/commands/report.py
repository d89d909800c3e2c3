"""Prints the tables of finished runs; where nothing was run, the paper's figures beside empty columns.

    python benchmarks/report.py                                     # every suite that has runs in work_dirs
    python benchmarks/report.py --suite cifar100_lt --format csv
    python benchmarks/report.py --work-dir results/cpu-20-epochs    # the runs that are kept in the repository
    python benchmarks/report.py --suite cifar100_lt --by-seed       # one line a seed (the paper's Tab. 14 and 15)
    python benchmarks/report.py --suite cifar100_lt --rarest 4      # accuracy of the rarest classes (Tab. 11 to 13)
    python benchmarks/report.py --suite cifar100_lt --figures figures     # every figure, for a paper
    python benchmarks/report.py --suite cifar100_lt --geometry      # what the features look like
    python benchmarks/report.py --suite cifar100_lt --keep results/mine   # records and tables, without weights
    python benchmarks/report.py --against results/digits            # do they come out as elsewhere? same recipe, images and seeds
    python benchmarks/report.py --html report.html                  # all of it in one file that opens in a browser
    python benchmarks/report.py --export runs.jsonl                 # one flat line a run, for pandas

Exit code: 0 all well; 2 a wrong argument, work directory or folder to write to.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls import argument_types, cli, exit_codes, messages
from sar_cls.commands.report_checks import check_arguments
from sar_cls.errors import InputError
from sar_cls.files import refusing
from sar_cls.suites import by_method
from sar_cls.suites import rows as suites

if TYPE_CHECKING:
    from sar_cls.reporting.tables.suite_tables import SuiteTables
    from sar_cls.runs.ledger import Warn

DEFAULT_WORK_DIR = Path("work_dirs")


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work-dir", type=argument_types.path, metavar="DIR", help=f"folder of the runs (default: {DEFAULT_WORK_DIR})"
    )
    parser.add_argument(
        "--suite", metavar="NAME", help="one suite and what it includes (default: all that have runs, else the paper's)"
    )
    cli.add_configs(parser.add_argument)
    parser.add_argument("--format", choices=["md", "csv"], default="md", help="Markdown or CSV (default: md)")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="compute all metrics anew from the saved test logits or confusion matrices (records stay, per_class.csv is written "
        "anew)",
    )
    parser.add_argument(
        "--precisions", action="store_true", help="also compare fp32 with other precisions, where a row was run in both"
    )
    parser.add_argument(
        "--against",
        type=argument_types.path,
        metavar="DIR",
        help="also compare these runs with the same ones (recipe, images, seed) in another folder, for example one of results/: "
        "another machine, device, precision or version",
    )
    view = parser.add_mutually_exclusive_group()
    view.add_argument(
        "--by-seed",
        action="store_true",
        help="instead: rows beside their baselines seed by seed, as in the paper's Tab. 14 and 15",
    )
    view.add_argument(
        "--rarest",
        type=argument_types.positive_int,
        metavar="K",
        help="instead: accuracy of the K rarest classes beside the baseline's, as in the paper's Tab. 11 to 13 (there 4)",
    )
    parser.add_argument(
        "--figures",
        "--plots",
        type=argument_types.path,
        metavar="DIR",
        help="also draw the runs into this folder: PNG, SVG and PDF, each with its caption (--plots is its older name)",
    )
    parser.add_argument(
        "--geometry",
        action="store_true",
        help="also what the features look like (compactness, separation, neural collapse, agreement between seeds) and which "
        "classes are confused; with --keep also written there",
    )
    parser.add_argument(
        "--keep",
        type=argument_types.path,
        metavar="DIR",
        help="also copy records, histories, per-class accuracies and tables of these runs into this folder",
    )
    parser.add_argument(
        "--html",
        type=argument_types.path,
        metavar="FILE",
        help="also write one HTML file with tables, figures, classes and provenance",
    )
    parser.add_argument(
        "--export",
        type=argument_types.path,
        metavar="FILE",
        help="also write one flat JSON line a run (columns: docs/export.md)",
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    exit_codes.when_interrupted("what was written is whole: the same command begins anew")
    configs = cli.configs(arguments)
    work_dir = arguments.work_dir or DEFAULT_WORK_DIR
    check_arguments(arguments, work_dir)
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

    with exit_codes.interruptible():
        from sar_cls.reporting.tables import suite_tables  # noqa: F401  (pandas, which takes a second)
        from sar_cls.runs import ledger

    left_out: list[str] = []

    def warn(sentence: str) -> None:
        left_out.append(sentence)
        cli.warn(sentence)

    runs = ledger.scan(work_dir, warn)
    if arguments.suite is None:
        known = {suite.name for suite in chosen}
        for name in sorted({record["suite"] for _, record in runs} - known):
            warn(f"runs are left out: there is no suite {name!r} (any more).")
        ran = [suite for suite in chosen if suite.measure or any(r["suite"] == suite.name for _, r in runs)]
        ran = [suite for suite in ran if not suite.measure or was_measured(suite, work_dir)]
        begun = [] if ran else ledger.unfinished(work_dir)
        if arguments.work_dir is not None and not ran and not begun and not left_out:
            warn_of_no_run(work_dir)
        if begun:
            cli.warn(
                f"no run is finished, {len(begun)} begun, for example {begun[0]}: the command that began it goes on with it"
            )
            ran = [suite for suite in chosen if suite.name in {run.parent.parent.name for run in begun}]
        chosen = ran or [suite for suite in chosen if suite.paper_dataset]
    elif arguments.work_dir is not None and not (
        left_out or any(shows(suite, runs, work_dir) for suite in chosen) or ledger.unfinished(work_dir)
    ):
        warn_of_no_run(work_dir, arguments.suite)
    measured = [suite for suite in chosen if suite.measure]
    view = "--by-seed" if arguments.by_seed else "--rarest" if arguments.rarest else ""
    if measured and arguments.suite is not None and view:
        raise InputError(f"{view} is for runs, and the rows of suite {arguments.suite!r} are measured: leave it out")
    if arguments.suite is None and arguments.format == "csv":
        for suite in measured:
            cli.warn(f"suite {suite.name} is left out, since its columns are others: name it with --suite")
    if arguments.suite is None and (view or arguments.format == "csv"):
        measured = []
    chosen = [suite for suite in chosen if not suite.measure]
    chosen = [by_method.completed(suite, configs, [record for _, record in runs]) for suite in chosen]
    if arguments.recompute:
        from sar_cls.runs.recomputed import recomputed, warn_of_rounded_logits

        runs = [(run_dir, recomputed(record, run_dir, cli.warn)) for run_dir, record in runs]
        warn_of_rounded_logits([run_dir for run_dir, _ in runs], cli.warn)
    tables = [shown_tables(arguments, chosen, runs, warn)] if chosen or not measured else []
    tables += costs(measured, work_dir)
    messages.result(
        "\n".join(part.to_csv() if arguments.format == "csv" else part.to_markdown() for part in tables), end=""
    )
    if arguments.precisions:
        from sar_cls.reporting.tables.precisions import precision_table

        found = precision_table(chosen, [record for _, record in runs], cli.warn)
        messages.result(f"\n{found or 'No row was run in two precisions with the same seed.'}")
    if arguments.against is not None:
        from sar_cls.reporting.tables.against import against_table

        others = [record for _, record in ledger.scan(arguments.against, cli.warn)]
        found = against_table(chosen, [record for _, record in runs], others, cli.warn)
        messages.result(f"\n### Here, and in {arguments.against.name}\n\n{found}")
    if arguments.geometry:
        from sar_cls.reporting.tables.geometry_text import geometry_text

        messages.result(f"\n{geometry_text(chosen, runs, cli.warn)}", end="")
    if arguments.keep is not None:
        from sar_cls.reporting.keep import keep, keep_costs

        with writing_to(arguments.keep, "--keep"):
            copies = keep(chosen, runs, arguments.keep, cli.warn, geometry=arguments.geometry)
            messages.remark(f"kept {len(copies)} run{'' if len(copies) == 1 else 's'} in {arguments.keep}")
            keep_costs(measured, work_dir, arguments.keep)
    if arguments.export is not None:
        from sar_cls.reporting.export import write_export

        with writing_to(arguments.export, "--export"):
            arguments.export.parent.mkdir(parents=True, exist_ok=True)
            number = write_export(chosen, runs, arguments.export, cli.warn)
        messages.remark(f"wrote {arguments.export} ({number} run{'' if number == 1 else 's'})")
    if arguments.html is not None:
        from sar_cls.reporting.html.page import write_report

        with writing_to(arguments.html, "--html"):
            arguments.html.parent.mkdir(parents=True, exist_ok=True)
            write_report(
                chosen,
                runs,
                arguments.html,
                tables=[table for suite in costs(measured, work_dir) for table in suite.tables],
                warn=cli.warn,
                left_out=left_out,
                work_dir=work_dir,
                own_command=own_command(arguments),
            )
        messages.remark(f"wrote {arguments.html}")
    if arguments.figures is not None:  # last, since many runs take minutes: what else was asked for is there by then
        from sar_cls.reporting.figures.gallery import draw_figures

        with writing_to(arguments.figures, "--figures"):
            made = [
                figure
                for figure in draw_figures(chosen, runs, arguments.figures, cli.warn, messages.remark)
                if figure.made
            ]
        messages.remark(f"drew {len(made)} figure{'' if len(made) == 1 else 's'} into {arguments.figures}")
    return 0


def warn_of_no_run(work_dir: Path, suite: str | None = None) -> None:
    """Says that a folder that was named has no runs (of a suite), and where some are."""
    from sar_cls.runs import ledger

    place = ledger.place_of_runs(work_dir, suite)
    where = (
        "it is the folder that benchmarks/run.py wrote to, DIR/SUITE/ROW/RUN"
        if place is None
        else f"try --work-dir {place}"
    )
    cli.warn(f"--work-dir {work_dir} holds no runs{'' if suite is None else f' of suite {suite!r}'}: {where}")


def own_command(arguments: argparse.Namespace) -> list[str]:
    """The command that makes this report again; without folders, which are nobody else's."""
    suite = [] if arguments.suite is None else ["--suite", arguments.suite]
    return ["python", "benchmarks/report.py", *suite, "--html", arguments.html.name]


def shown_tables(
    arguments: argparse.Namespace,
    chosen: Sequence[suites.Suite],
    runs: Sequence[tuple[Path, dict[str, Any]]],
    warn: Warn,
) -> SuiteTables:
    """The tables that were asked for, with a warning where no row was run beside its baseline."""
    from sar_cls.reporting.tables import suite_tables as table

    records = [record for _, record in runs]
    if not arguments.by_seed and arguments.rarest is None:
        return table.tables_from_records(chosen, records, warn)
    if arguments.by_seed:
        from sar_cls.reporting.tables.by_seed import seed_tables

        tables = seed_tables(chosen, records, warn)
    else:
        from sar_cls.reporting.tables.rare_classes import rare_class_tables

        tables = rare_class_tables(chosen, runs, arguments.rarest, warn)
    if not tables.tables:
        warn("nothing to compare: no row was run with a seed that its baseline was run with too.")
    return tables


def shows(suite: suites.Suite, runs: Sequence[tuple[Path, dict[str, Any]]], work_dir: Path) -> bool:
    """Whether a suite's table has a run in it, or a measurement."""
    if suite.measure:
        return was_measured(suite, work_dir)
    keys = {(row.suite, row.name) for row in suite.rows}
    return any(record["suite"] == suite.name or (record["suite"], record["row"]) in keys for _, record in runs)


def was_measured(suite: suites.Suite, work_dir: Path) -> bool:
    """Whether the rows of a suite that is measured were."""
    from sar_cls.reporting.tables.costs import costs_file

    return costs_file(suite, work_dir).exists()


def costs(measured: Sequence[suites.Suite], work_dir: Path) -> list[SuiteTables]:
    """The tables of the suites that are measured."""
    from sar_cls.reporting.tables.costs import cost_tables

    return [cost_tables(suite, work_dir) for suite in measured]


@contextmanager
def writing_to(folder: Path, option: str) -> Iterator[None]:
    """Turns what the system has against writing into a sentence that names the option."""
    with refusing(folder, f"give another {option}"):
        yield
