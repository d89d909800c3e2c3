"""Starts ``team_program.py``, for tests that run commands on several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = Path(__file__).with_name("team_program.py")


class Ended(NamedTuple):
    codes: list[int]
    texts: list[str]


Start = Callable[..., Ended]


@contextmanager
def started(*modules: str) -> Iterator[Start]:
    """``run(arguments, processes=2, kill=dict(rank=1, step=12))`` runs a command and waits for its end.

    Args:
        *modules: imported once, before the processes are forked.
    """
    pipe = subprocess.PIPE
    environment = {**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"}  # as the scripts set it before they import torch
    command = [sys.executable, str(PROGRAM), *modules]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as program:
        assert program.stdin is not None
        assert program.stdout is not None

        def run(arguments: list[str], processes: int = 2, **more: Any) -> Ended:
            print(json.dumps({"arguments": arguments, "processes": processes, **more}), file=program.stdin, flush=True)
            answer = json.loads(program.stdout.readline())
            return Ended(answer["codes"], answer["texts"])

        yield run
        program.stdin.close()
