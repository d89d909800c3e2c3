"""Measures the training step, the data path and the evaluation, side by side with others on the same images.

    python benchmarks/speed.py --help

The same as ``sar-cls speed``; what it does stands in sar_cls/commands/speed.py.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone that is not installed has its package there

from sar_cls import exit_codes
from sar_cls.commands.speed import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
