"""Second stage: re-trains or corrects the classifier of a first stage for balanced test data.

    python longtail/stage2.py --help

The same as ``sar-cls stage2``; what it does stands in sar_cls/commands/stage2.py.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone that is not installed has its package there

from sar_cls import exit_codes
from sar_cls.commands.stage2 import main

if __name__ == "__main__":
    exit_codes.main_with_exit_code(main)
