"""What a run prints in another process, line by line."""

from __future__ import annotations

import io
from collections.abc import Callable


class Lines(io.TextIOBase):
    """Takes the place of stdout and stderr and sends each whole line on. It is no terminal, so no progress bar is drawn on it.

    Args:
        send: is given each line, without its end.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self.send = send
        self.rest = ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.send(line)
        return len(text)
