"""Runs a suite: every row with every seed, then prints its table.

    python benchmarks/run.py --help

The same as ``sar-cls run``; what it does stands in sar_cls/commands/run.py.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone that is not installed has its package there

from sar_cls import exit_codes
from sar_cls.commands.run import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
