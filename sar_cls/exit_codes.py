"""How a program ends: whatever it raises becomes one line and an exit code."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sar_cls import messages, ranks
from sar_cls.errors import InputError, ProcessLost, RunFailed, RunLocked
from sar_cls.files import why

# What stands for the signs of tables and messages on a terminal that does not know them.
_PLAIN_SIGNS = {
    "±": "+/-",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "Δ": "diff",
    "τ": "tau",
    "δ": "delta",
    "≥": ">=",
    "≤": "<=",
}
_PLAIN_SIGNS |= {"…": "...", "→": "->", "·": ".", "’": "'", "‘": "'", "“": '"', "”": '"', "•": "*"}


_OF_RUNS = "the same command goes on from the last whole epoch"
_after_interrupt = _OF_RUNS


def when_interrupted(sentence: str) -> None:
    """Says what the same command does after Ctrl-C, for a command that is no training; to be called when its work begins.

    A library may swallow Ctrl-C, so the sentence cannot travel with the exception.
    """
    global _after_interrupt
    _after_interrupt = sentence


@contextmanager
def interruptible() -> Iterator[None]:
    """Ends with ``KeyboardInterrupt`` where Ctrl-C was pressed inside, whatever became of it there.

    Above all for the import of large libraries: some of their modules catch whatever is raised in an optional import, or turn it
    into an error of their own, and the program would go on, or end for a wrong reason.
    """
    # Signals are the main thread's; and where Ctrl-C means nothing (nohup), it stays so.
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    pressed = False

    def note(signal_number: int, frame: object) -> NoReturn:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def show_what_the_terminal_can() -> None:
    """From now on a sign that the terminal's encoding lacks is printed as plain text that means the same.

    For the C locale, Latin-1 and Windows code pages, where ``print("±")`` would end the program. Files are UTF-8 all the same.
    """
    codecs.register_error("sar_cls.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        # Streams that a test or a notebook put there have no encoding to fail at.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="sar_cls.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain_sign(sign) for sign in error.object[error.start : error.end]), error.end


def _plain_sign(sign: str) -> str:
    if sign in _PLAIN_SIGNS:
        return _PLAIN_SIGNS[sign]
    bare = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()  # a letter without its accent
    # Half of a file name that is no text stays recognisable.
    return bare or ("?" if unicodedata.category(sign) != "Cs" else f"\\x{ord(sign) & 0xFF:02x}")


def wait_asleep() -> None:
    """Has OpenMP's threads spin for a short while only before they sleep, unless the environment says how they are to wait.

    By default they spin for long, and on a machine with other work each spins away the time that the other needs. On a quiet
    machine these 10,000 turns cost nothing on small nets and about 3 % of a ResNet-32 step; to sleep at once
    (``OMP_WAIT_POLICY=PASSIVE``) cost 13 % of that step and more than half of the speed of the digits. No number depends on it. To
    be called before torch is imported: libgomp reads it once.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "10000"


def main_with_exit_code(main: Callable[[], int]) -> NoReturn:
    """Runs ``main`` and exits: with its own code; 2 and one line for bad input, for a package that is not installed, or for what
    the file system has against the work before it begins; 1 and one line for a failed run; 3 and one line for a locked one; 130
    for Ctrl-C.

    Of several processes that torchrun has started the first one runs ``main``; the others train with it and end with its code.
    """
    show_what_the_terminal_can()
    wait_asleep()
    if ranks.processes() > 1:
        # Else torch adds a page about sockets to the sentence that another process is gone. It reads this when it is imported.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.exit(code_of(main) if ranks.processes() == 1 else code_of_team(main))


def code_of_team(main: Callable[[], int]) -> int:
    """The exit code of one of several processes, see :func:`main_with_exit_code`."""
    from sar_cls.engine import members

    if not ranks.is_first():
        return code_of(members.follow)
    code = 1
    try:
        code = code_of(main)
    except SystemExit as error:  # of the argument parser
        code = error.code if isinstance(error.code, int) else 1
        raise
    finally:
        members.dismiss(code)
    return code


def code_of(main: Callable[[], int]) -> int:
    """The exit code of ``main``, whatever it raises; why it ends is printed."""
    when_interrupted(_OF_RUNS)
    try:
        with interruptible():
            code = main()
        sys.stdout.flush()  # a full disk behind it is noticed here, not when Python is gone
    except InputError as error:
        messages.complain(str(error))
        code = 2
    except RunLocked as error:
        messages.complain(str(error))
        code = 3
    except RunFailed as error:
        messages.complain(str(error))
        code = 1
    except ProcessLost as error:
        if str(error):  # else that process has said it
            messages.complain(str(error))
        code = 1
    except KeyboardInterrupt:
        messages.remark(f"\ninterrupted; {_after_interrupt}")
        code = 130
    except ModuleNotFoundError as error:
        if (error.name or "sar_cls").partition(".")[0] == "sar_cls":
            raise  # a part of ours cannot be missing: a defect
        messages.complain(f"{error.name} is not installed: pip install 'sar-cls[bench]' brings what suites need")
        code = 2
    except BrokenPipeError:  # the reader of our output went away, for example head
        _drop_output()
        code = 1
    except OSError as error:
        is_output = error.filename is None  # a file would have a name
        messages.complain(why(error, "the output" if is_output else None))
        if is_output:
            _drop_output()
        code = 1 if is_output else 2
    return code


def _drop_output() -> None:
    """Sends what is left of the output nowhere, so that Python has nothing to complain about when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
