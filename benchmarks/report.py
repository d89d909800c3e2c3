"""Prints the tables of finished runs; where nothing was run, the paper's figures beside empty columns.

    python benchmarks/report.py --help

The same as ``sar-cls report``; what it does stands in sar_cls/commands/report.py.
"""

from sar_cls import exit_codes
from sar_cls.commands.report import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
