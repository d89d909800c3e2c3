"""Prints the tables of finished runs; where nothing was run, the paper's figures beside empty columns.

    python benchmarks/report.py --help

The same as ``sar-cls report``; what it does stands in sar_cls/commands/report.py.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone that is not installed has its package there

from sar_cls import exit_codes
from sar_cls.commands.report import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
