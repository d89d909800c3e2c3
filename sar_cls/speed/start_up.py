"""How long a user waits: for the list of suites, and from the command to the end of the first training step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace

from sar_cls.errors import InputError
from sar_cls.speed.jobs import jobs_setting
from sar_cls.speed.rounds import Spread
from sar_cls.speed.setting import NETS, Setting
from sar_cls.steps.modes import DEFAULT_MODE

_RUN = ["-m", "sar_cls", "run"]
# Runs the command as a user does and ends the process when a step is through; it is imported no earlier than the script would.
_UNTIL_FIRST_STEP = """
import os, runpy, sys
import torch
from sar_cls.steps import step

def first(self, batch, train=step.EagerStep.__call__):
    train(self, batch)
    if batch["inputs"].is_cuda:
        torch.cuda.synchronize()
    print("first step", flush=True)
    os._exit(0)

step.EagerStep.__call__ = first
sys.argv = ["sar_cls", "run", *sys.argv[1:]]
runpy.run_module("sar_cls", run_name="__main__")
"""


def measure_start_up(setting: Setting, data_root: str | None, rounds: int) -> dict[str, Spread]:
    """Seconds from the start of the process; each round is a new one.

    Args:
        setting: whose net, precision and device are run; the step is the eager one.
        data_root: folder of CIFAR-100.
        rounds: how often.

    Returns:
        "list" and "first step".

    Raises:
        InputError: the run ended without a step.
    """
    suite, row = NETS[setting.net]
    found: dict[str, list[float]] = {"list": [], "first step": []}
    for _ in range(rounds):
        found["list"].append(_seconds([*_RUN, "--list"], "digits"))
        with tempfile.TemporaryDirectory(prefix="sar_cls-speed-") as folder:
            options = ["--suite", suite, "--only", row, "--seeds", "1", "--work-dir", folder, "--mode", "eager"]
            options += ["--device", str(setting.device), "--precision", setting.precision]
            options += [] if data_root is None else ["--data-root", os.path.abspath(data_root)]
            command = ["-c", _UNTIL_FIRST_STEP, *options]
            found["first step"].append(_seconds(command, "first step"))
    return {name: Spread.of(seconds) for name, seconds in found.items()}


def start_up_setting(setting: Setting) -> Setting:
    """What is really timed: the row as it is, eagerly."""
    return replace(jobs_setting(setting), mode=DEFAULT_MODE, memory_format=Setting.memory_format)


def _seconds(arguments: Sequence[str], expected: str) -> float:
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if expected not in done.stdout:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise InputError(f"the run that was to be timed ended with code {done.returncode}: {lines[-1]}")
    return seconds
