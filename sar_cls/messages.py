"""Every line that the house prints: results on stdout, so that they can be piped; remarks, warnings and errors on stderr.

The one place that prints; of several processes that train one run, the first one does. Bars on a terminal are
:mod:`sar_cls.progress_bar`'s; what is left of a run that failed is in its folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sar_cls import ranks


def result(text: str = "", *, end: str = "\n") -> None:
    """Prints what was asked for: a table, a list, how a run ended."""
    if ranks.is_first():
        print(text, end=end, flush=True)


def remark(text: str) -> None:
    """Prints what is worth knowing about work under way, its progress included."""
    if ranks.is_first():
        print(text, file=sys.stderr, flush=True)


def warn(sentence: str) -> None:
    """Prints a warning beside the results, under the name of the program."""
    remark(f"{program()}: warning: {sentence}")


def complain(sentence: str) -> None:
    """Prints why the program ends before its work is done, under its name."""
    remark(f"{program()}: {sentence}")


def last_words(sentence: str) -> None:
    """Prints why the program ends, in whatever process of a run: the first one may not be able to."""
    print(f"{program()}: {sentence}", file=sys.stderr, flush=True)


def program() -> str:
    """What messages begin with: the script, or the command with its subcommand."""
    return Path(sys.argv[0]).name
