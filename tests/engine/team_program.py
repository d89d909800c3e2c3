"""Commands run by several processes, as torchrun would start them, but forked from one that has imported all: once for many tests.

``python team_program.py`` reads one JSON object a line from stdin, ``{"arguments": [...], "processes": 2, "kill": {...}}``, runs
the command in so many processes and answers with their exit codes and what each of them printed. ``kill`` names the process that
ends by SIGKILL at the n-th step of its optimizer, ``fail`` one that raises there, or for step 0 before its net is wrapped.
Modules named on the command line are imported before.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402

from sar_cls import exit_codes  # noqa: E402
from sar_cls.commands import run as run_command  # noqa: E402
from sar_cls.commands import stage2 as stage2_command  # noqa: E402
from sar_cls.engine import members, team  # noqa: E402, F401
from sar_cls.launch import serial  # noqa: E402, F401
from sar_cls.mm.runner import DeviceRunner  # noqa: E402
from sar_cls.reporting.html import page  # noqa: E402, F401
from sar_cls.reporting.tables import suite_tables  # noqa: E402, F401

COMMANDS = {"run": run_command.main, "stage2": stage2_command.main}
LONGEST = 100.0  # seconds for a command: none of them takes a tenth of that


def at_step(number: int, what: str) -> None:
    """Ends this process, or raises in it, right after the n-th update of the weights."""
    if number == 0:

        def fail(_: DeviceRunner) -> None:
            raise RuntimeError("the test wants it so")

        DeviceRunner.train = fail  # type: ignore[method-assign, assignment]
        return
    seen = iter(range(1, 10**9))

    def count(*_: object) -> None:
        if next(seen) == number:
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the test wants it so")

    register_optimizer_step_post_hook(count)


def child(order: dict[str, Any], rank: int, port: int, output: Path) -> None:
    stream = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    processes = order["processes"]
    if processes > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    team.GRACE = 3.0
    for what in ("kill", "fail"):
        if order.get(what, {}).get("rank") in (rank, "all"):
            at_step(order[what]["step"], what)
    command, *arguments = order["arguments"]
    sys.argv = [command, *arguments]
    main = COMMANDS[command]
    code = 70
    try:
        code = exit_codes.code_of(main) if processes == 1 else exit_codes.code_of_team(main)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(order: dict[str, Any], folder: Path) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outputs = [folder / f"{time.monotonic_ns()}.{rank}" for rank in range(order["processes"])]
    children = []
    for rank, output in enumerate(outputs):
        number = os.fork()
        if number == 0:
            child(order, rank, port, output)
        children.append(number)
    codes: dict[int, int] = {}
    begin = time.monotonic()
    while len(codes) < len(children):
        for rank, number in enumerate(children):
            if rank not in codes:
                ended, status = os.waitpid(number, os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
                elif time.monotonic() - begin > LONGEST:
                    os.kill(number, signal.SIGKILL)
        time.sleep(0.02)
    texts = [output.read_text(encoding="utf-8", errors="replace") for output in outputs]
    return {"codes": [codes[rank] for rank in range(len(children))], "texts": texts}


def main() -> None:
    # Runs import these late: once here, not in each fork.
    import_module("mmpretrain.engine")
    import_module("pandas")
    import_module("yapf.yapflib.yapf_api")  # mmengine's, where it writes a config

    with redirect_stdout(sys.stderr):  # libraries have something to say
        for module in sys.argv[1:]:
            import_module(module)

    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            answer = run(json.loads(line), Path(folder))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    os._exit(0)  # nothing is left to do, and libraries take seconds to say goodbye


if __name__ == "__main__":
    main()
