"""Several processes that train one run, started by torchrun: the first one leads, the others follow.

The first process is the whole program: it reads the command line, plans, locks, prints and writes, and runs alone what trains
nothing. Only for a run's training it calls the others (:meth:`Team.train`), which until then wait (:meth:`Team.follow`). What they
tell each other beside tensors goes through the store by which torchrun's processes find each other: the planned run, that its
images are there and the same, how it ended. Each run has a process group of its own.

A failure that all processes share (a checkpoint that does not fit, say) fails the run as in one process, and the next run begins.
One of a single process cannot be mended, since the others wait for it inside a step: it ends them all, with one sentence.
"""

from __future__ import annotations

import json
import os
import pickle
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
from torch import distributed

from sar_cls import messages, ranks
from sar_cls.engine.planned import PlannedRun
from sar_cls.errors import InputError, ProcessLost, RunFailed
from sar_cls.runs.folder import write_error_log

Result = TypeVar("Result")

# Seconds that a process waits for the others: at one operation between them, where all are at the same step or at most a checkpoint
# apart; for their images, which may have to be decoded first; and after an error, until it counts as one of this process alone.
STEP, IMAGES, GRACE = 600.0, 3600.0, 10.0
# What torch says where another process has gone: gloo and the store by words alone.
_GONE = ("gloo", "Connection closed by peer", "Connection reset", "Connection refused", "Broken pipe", "Socket closed")
_GONE_WORDS = (
    "another process of the run is gone (killed, or out of memory?); the same command goes on from the last whole epoch"
)


class Ready(NamedTuple):
    """A follower that has prepared a run.

    Attributes:
        fingerprints: of its images.
        device: of this process.
        train: trains its part.
    """

    fingerprints: dict[str, str]
    device: str
    train: Callable[[], object]


class Team:
    """The processes of this run, seen from one of them.

    Args:
        rank: of this process.
        size: their number.
        store: what they share; None connects to that of torchrun.
        grace: see ``GRACE``.
    """

    def __init__(
        self, rank: int, size: int, store: distributed.Store | None = None, grace: float | None = None
    ) -> None:
        if store is None:
            found, _, _ = next(distributed.rendezvous("env://", rank, size, timeout=timedelta(seconds=STEP)))
            # What the processes said before torchrun has started them again is still in there.
            store = distributed.PrefixStore(f"sar_cls{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", found)
        self.rank, self.size, self.store = rank, size, store
        self.grace = GRACE if grace is None else grace
        self.number = 0  # of the runs so far
        self.is_whole = True  # until one is lost

    # The first process.

    def train(
        self, planned: PlannedRun, fingerprints: dict[str, str], train: Callable[[], Result], device: torch.device
    ) -> Result:
        """Has all processes train a run; returns what ``train`` returns here.

        Args:
            planned: the run, for the others.
            fingerprints: of the images here.
            train: trains this process's part.
            device: of this process.

        Raises:
            InputError: another process cannot begin; none has.
            RunFailed, ProcessLost: see :meth:`_settle`; after a ``ProcessLost`` nothing can be trained any more.
            Exception: what ``train`` raises here and in the others.
        """
        self.number += 1
        self._set("run", pickle.dumps(planned))
        refused = ""
        for rank in range(1, self.size):
            answer = json.loads(self._get("ready", rank, seconds=IMAGES))
            refused = refused or answer["refused"]
            if not refused and answer["fingerprints"] != fingerprints:
                refused = (
                    f"{planned.title}: process {rank} has other images than process 0: give all the same --data-root"
                )
        self._set("go", refused.encode() or b"-")
        if refused:
            raise InputError(refused)
        try:
            result = self._in_group(train, device)
        except BaseException as error:
            self._settle(planned, error)
            raise
        self._settle(planned, None)
        return result

    def dismiss(self, code: int) -> None:
        """Tells the others that all is done, and with which exit code; waits until they have heard it."""
        self.number += 1
        with suppress(distributed.DistError, RuntimeError):  # there may be nobody left
            self._set("run", pickle.dumps(code))
            for rank in range(1, self.size if self.is_whole else 1):
                self._get("heard", rank, seconds=5.0)

    def _settle(self, planned: PlannedRun, error: BaseException | None) -> None:
        """Waits until the others have ended the run as well, and lets them go on to the next; ``error`` is what ended it here.

        Raises:
            RunFailed: another process has failed at the very end.
            ProcessLost: another process is gone, or waits for this one inside a step.
        """
        if error is not None and not isinstance(error, Exception):
            return  # Ctrl-C ends all
        lost = error is not None and is_gone(error)
        # Where one is gone the others say no more than they have, and torchrun ends this process within a moment.
        patience = STEP if error is None else 0.0 if lost else self.grace
        others = []
        for rank in range(1, self.size):
            with suppress(distributed.DistError, RuntimeError):
                others.append(json.loads(self._get("end", rank, seconds=patience)))
        failed = next((other for other in others if other["words"]), None)
        self.is_whole = len(others) == self.size - 1 and not lost
        if lost:
            # One that has failed has said so itself: it cannot know whether this one would ever hear of it.
            raise ProcessLost("" if failed is not None else _GONE_WORDS) from error
        if not self.is_whole and error is None:
            raise ProcessLost(_GONE_WORDS)
        if not self.is_whole and error is not None:
            where = write_error_log(planned.run_dir, traceback.format_exc())
            raise ProcessLost(f"{planned.title}: process 0 of {self.size}: {sentence(error)} ({where})") from error
        self._set("over", b"-")
        if error is None and failed is not None:
            raise RunFailed(failed["words"]) from RuntimeError(failed["trace"])

    # The others.

    def follow(self, prepare: Callable[[PlannedRun], Ready]) -> int:
        """Trains what the first process asks for until it is done; returns the exit code.

        Args:
            prepare: reads the images of a run.
        """
        while True:
            self.number += 1
            asked = pickle.loads(self._get("run", seconds=None))
            if isinstance(asked, int):
                self._set("heard", b"-", rank=self.rank)
                if asked:
                    time.sleep(1.0)  # torchrun reports the process that ends first, and kills the others
                return asked
            try:
                ready = prepare(asked)
                answer = {"refused": "", "fingerprints": ready.fingerprints}
            except Exception as error:
                answer = {"refused": f"process {self.rank} of {self.size}: {sentence(error)}", "fingerprints": {}}
            self._set("ready", json.dumps(answer).encode(), rank=self.rank)
            if self._get("go", seconds=None) != b"-":
                continue
            try:
                self._in_group(ready.train, torch.device(ready.device))
            except Exception as error:
                if not self._failed(asked, error):
                    return 1
            else:
                self._end()
                self._get("over", seconds=None)

    def _failed(self, planned: PlannedRun, error: Exception) -> bool:
        """Whether the first process has ended the run too, so that there can be a next; else says why this process ends."""
        gone = is_gone(error)
        words = "" if gone else f"process {self.rank} of {self.size}: {sentence(error)}"
        trace = traceback.format_exc()
        try:
            self._end(words, trace)
            self._get("over", seconds=self.grace)
        except (distributed.DistError, RuntimeError):  # the first process waits for this one inside a step, or is gone
            if words:
                where = write_error_log(planned.run_dir, trace)
                messages.last_words(f"{planned.title}: {words} ({where})")
            return False
        return True

    def _end(self, words: str = "", trace: str = "") -> None:
        self._set("end", json.dumps({"words": words, "trace": trace}).encode(), rank=self.rank)

    # Both.

    def _in_group(self, work: Callable[[], Result], device: torch.device) -> Result:
        """Does the work inside a new process group."""
        is_cuda = device.type == "cuda"
        if is_cuda:
            torch.cuda.set_device(device)
        if distributed.is_initialized():
            distributed.destroy_process_group()
        distributed.init_process_group(
            "nccl" if is_cuda else "gloo",
            store=distributed.PrefixStore(f"group{self.number}", self.store),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=STEP),
        )
        failed = True
        try:
            result = work()
            failed = False
        finally:
            # After a failure others may still be inside a step, and NCCL would wait for them.
            if not (failed and is_cuda):
                distributed.destroy_process_group()
        return result

    def _key(self, what: str, rank: int | None) -> str:
        return f"{self.number}/{what}" + ("" if rank is None else f"/{rank}")

    def _set(self, what: str, value: bytes, rank: int | None = None) -> None:
        self.store.set(self._key(what, rank), value)  # type: ignore[arg-type]

    def _get(self, what: str, rank: int | None = None, *, seconds: float | None) -> bytes:
        """What a key is set to, as soon as it is; without ``seconds`` there is no end to the waiting but that of the store."""
        key, begin, pause = self._key(what, rank), time.monotonic(), 0.002
        while not self.store.check([key]):  # its own wait() prints a warning whenever it ends in vain
            if seconds is not None and time.monotonic() - begin >= seconds:
                raise distributed.DistStoreError(f"nobody has set {key} within {seconds:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        return self.store.get(key)


def is_gone(error: BaseException) -> bool:
    """Whether an error says that another process has gone, rather than that something is wrong in this one."""
    if isinstance(error, distributed.DistError):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in _GONE)


def sentence(error: BaseException) -> str:
    """What was raised, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].rstrip(".") if lines else ""
    return (
        text if isinstance(error, (InputError, RunFailed)) else f"failed, {type(error).__name__}: {text}".rstrip(": ")
    )


_team: Team | None = None


def team() -> Team | None:
    """The processes that torchrun has started this one with; None for a single process."""
    global _team
    if _team is None and ranks.processes() > 1:
        _team = Team(ranks.rank(), ranks.processes())
    return _team
