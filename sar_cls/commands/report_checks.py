"""What is wrong with the arguments of ``report.py``, said before anything is read, printed or written."""

from __future__ import annotations

import argparse
from pathlib import Path

from sar_cls import cli
from sar_cls.errors import InputError


def check_arguments(arguments: argparse.Namespace, work_dir: Path) -> None:
    """Raises `InputError` for arguments that do not go together, and for folders and files that are not what they must be.

    Args:
        arguments: of the command line.
        work_dir: the folder of the runs, which is not there where none was named and nothing was run.
    """
    _check_format(arguments)
    if arguments.work_dir is not None and not work_dir.is_dir():
        raise InputError(f"--work-dir {work_dir} is not a folder; name the folder that benchmarks/run.py wrote to")
    if arguments.against is not None and not arguments.against.is_dir():
        raise InputError(
            f"--against {arguments.against} is not a folder; name one with runs, for example a folder of results/"
        )
    for option in ("against", "keep"):
        folder = getattr(arguments, option)
        if folder is not None and folder.is_dir() and work_dir.is_dir() and folder.samefile(work_dir):
            raise InputError(f"--{option} {folder} is the folder of the runs themselves; name another")
    for option in ("keep", "figures"):
        if getattr(arguments, option) is not None:
            cli.writable_folder(getattr(arguments, option), f"--{option}")
    for option in ("html", "export"):
        if getattr(arguments, option) is not None:
            cli.writable_file(getattr(arguments, option), f"--{option}")


def _check_format(arguments: argparse.Namespace) -> None:
    """CSV on stdout is one table of one kind, so that a program can read it."""
    if arguments.format != "csv":
        return
    if arguments.geometry:
        raise InputError(
            "--format csv prints one table, and --geometry has others: leave one of them out (--keep DIR --geometry writes "
            "DIR/SUITE/geometry.csv)"
        )
    for option in ("against", "precisions"):
        if getattr(arguments, option):
            raise InputError(
                f"--format csv prints one table, and --{option} adds one in Markdown: leave one of them out"
            )
