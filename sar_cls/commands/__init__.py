"""The ``sar-cls`` command: one module a subcommand, each with ``parse()`` and ``main()``.

The scripts in ``benchmarks/`` and ``longtail/`` run the same modules.
"""

from __future__ import annotations

import sys
from importlib import import_module

from sar_cls import __version__, exit_codes, messages
from sar_cls.errors import InputError

COMMANDS = {
    "run": "runs a suite and prints its table",
    "report": "prints the tables of finished runs, draws them, keeps them",
    "stage1": "first stage on a long-tailed data set",
    "stage2": "second stage, from a finished first one",
    "speed": "measures the training step beside other pipelines",
    "features": "makes the features of finished runs that have none",
    "export": "writes a trained net as safetensors, ONNX or torch.export",
}


def main() -> None:
    """The entry point of ``sar-cls`` and ``python -m sar_cls``; ends the process with the subcommand's exit code."""
    exit_codes.main_with_exit_code(_main)


def _main() -> int:
    arguments = sys.argv[1:]
    sys.argv = ["sar-cls", *arguments]  # what messages begin with, also of python -m sar_cls
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        messages.result("usage: sar-cls COMMAND ...\n")
        messages.result("\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()))
        messages.result("\nsar-cls COMMAND --help says more.")
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "--version":
        messages.result(f"sar-cls {__version__}")
        return 0
    if name not in COMMANDS:
        raise InputError(f"unknown command {name!r}: choose one of {', '.join(COMMANDS)}")
    sys.argv = [f"sar-cls {name}", *rest]
    return import_module(f"sar_cls.commands.{name}").main()
