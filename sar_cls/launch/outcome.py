"""How runs end, and the one policy of what that means for the rest of a suite, whoever launches it.

- A run that fails (its training diverges, its process dies, the disk is full) fails alone: the others are run.
- A run that another process holds is passed over: the others are run, and the suite is not all done.
- A run that is refused for bad input stops the suite as long as no run has ended that had to be run: most likely the command
  is wrong, and nothing is lost. Later it fails alone, for a suite of a day is not given up for one row. What was finished before
  does not count, so that a command given again ends as it did the first time.
- A second stage whose first one did not finish is refused, which by then fails it alone.
- Ctrl-C, and the end of the launching process, end all; the same command goes on from the last whole epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sar_cls import messages
from sar_cls.errors import InputError


@dataclass(frozen=True)
class Attempt:
    """How one run ended.

    Attributes:
        title: of the run.
        end: "done", "failed" or "locked".
        line: what to print.
        refused: the reason, where bad input kept the run from starting.
        before: whether it had ended before this call.
    """

    title: str
    end: str
    line: str
    refused: str = ""
    before: bool = False


@dataclass
class Outcome:
    """How the runs of a call ended, as run titles."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    ended: int = 0

    def add(self, attempt: Attempt) -> None:
        """Counts a run and prints its line.

        Raises:
            InputError: the run was refused, and none before it had to be run and has ended; nothing is counted or printed.
        """
        if attempt.refused and not self.ended:
            raise InputError(attempt.refused)
        messages.result(attempt.line)
        getattr(self, attempt.end).append(attempt.title)
        self.ended += not attempt.before
