"""Measures the training step, the data path and the evaluation, side by side with others on the same images.

    python benchmarks/speed.py --help

The same as ``sar-cls speed``; what it does stands in sar_cls/commands/speed.py.
"""

from sar_cls import exit_codes
from sar_cls.commands.speed import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
